FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY .github/action/requirements.txt /tmp/
# What is pinned with its hashes, then this very source.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --only-binary :all: --require-hashes -r /tmp/requirements.txt \
    && pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && rm /tmp/requirements.txt \
    && useradd --create-home --uid 10001 logsh \
    && install -d -o logsh -g logsh -m 0700 /var/lib/logsh
USER 10001
ENV LOGSH_STATE_DIR=/var/lib/logsh
# What could not be delivered outlives the container where this is a volume.
VOLUME /var/lib/logsh
ENTRYPOINT ["logsh"]
CMD ["--help"]
