from __future__ import annotations

import pytest

from logsh_cli.event.ci import PROVIDERS, ci_metadata

SHA = "ffac537e6cbbf934b08745a378932722df287a53"

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_SHA": SHA,
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "42",
    "GITHUB_ACTOR": "jane",
    "GITHUB_HEAD_REF": "",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "acme/tools/shop",
    "CI_COMMIT_BRANCH": "main",
    "CI_COMMIT_REF_NAME": "main",
    "CI_COMMIT_SHA": SHA,
    "CI_JOB_URL": "https://gitlab.com/acme/shop/-/jobs/42",
    "CI_PIPELINE_URL": "https://gitlab.com/acme/shop/-/pipelines/7",
    "GITLAB_USER_LOGIN": "jane",
}
CIRCLE = {
    "CIRCLECI": "true",
    "CIRCLE_PROJECT_USERNAME": "acme",
    "CIRCLE_PROJECT_REPONAME": "shop",
    "CIRCLE_BRANCH": "main",
    "CIRCLE_SHA1": SHA,
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/shop/42",
    "CIRCLE_USERNAME": "jane",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_REPO": "git@github.com:acme/shop.git",
    "BUILDKITE_BRANCH": "main",
    "BUILDKITE_TAG": "",
    "BUILDKITE_COMMIT": SHA,
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/shop/builds/42",
    "BUILDKITE_BUILD_CREATOR": "Jane Doe",
}
AZURE = {
    "TF_BUILD": "True",
    "BUILD_REPOSITORY_NAME": "acme/shop",
    "BUILD_SOURCEBRANCH": "refs/heads/feature/x",
    "BUILD_SOURCEVERSION": SHA,
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
    "SYSTEM_TEAMPROJECT": "My Shop",
    "BUILD_BUILDID": "42",
    "BUILD_REQUESTEDFOR": "Jane Doe",
}
BITBUCKET = {
    "BITBUCKET_BUILD_NUMBER": "42",
    "BITBUCKET_REPO_FULL_NAME": "acme/shop",
    "BITBUCKET_BRANCH": "main",
    "BITBUCKET_COMMIT": SHA,
    "BITBUCKET_STEP_TRIGGERER_UUID": "{1f2e}",
}
TRAVIS = {
    "TRAVIS": "true",
    "TRAVIS_REPO_SLUG": "acme/shop",
    "TRAVIS_BRANCH": "main",
    "TRAVIS_PULL_REQUEST_BRANCH": "",
    "TRAVIS_COMMIT": SHA,
    "TRAVIS_BUILD_WEB_URL": "https://app.travis-ci.com/acme/shop/builds/42",
}
WOODPECKER = {
    "CI": "woodpecker",
    "CI_REPO": "acme/shop",
    "CI_COMMIT_BRANCH": "main",
    "CI_COMMIT_SHA": SHA,
    "CI_PIPELINE_URL": "https://ci.example.org/repos/1/pipeline/42",
    "CI_PIPELINE_AUTHOR": "jane",
}
DRONE = {
    "CI": "true",
    "DRONE": "true",
    "DRONE_REPO": "acme/shop",
    "DRONE_BRANCH": "main",
    "DRONE_COMMIT_SHA": SHA,
    "DRONE_BUILD_LINK": "https://drone.example.org/acme/shop/42",
    "DRONE_COMMIT_AUTHOR": "jane",
}
JENKINS = {
    "JENKINS_URL": "https://ci.example.org/",
    "GIT_URL": "https://bob:secret@git.example.org/acme/shop.git",
    "GIT_BRANCH": "origin/main",
    "GIT_COMMIT": SHA,
    "BUILD_URL": "https://ci.example.org/job/shop/42/",
    "BUILD_USER_ID": "jane",
}


def expected(
    provider: str, run_url: str, repository: str = "acme/shop", branch: str = "main", actor: str | None = "jane"
) -> dict[str, str]:
    values = {
        "ci_provider": provider,
        "ci_repository": repository,
        "ci_branch": branch,
        "ci_commit": SHA,
        "ci_run_url": run_url,
    }
    return values | ({"ci_actor": actor} if actor else {})


CASES = [
    (GITHUB, expected("GitHub Actions", "https://github.com/acme/shop/actions/runs/42")),
    (GITLAB, expected("GitLab CI", "https://gitlab.com/acme/shop/-/jobs/42", repository="acme/tools/shop")),
    (CIRCLE, expected("CircleCI", "https://circleci.com/gh/acme/shop/42")),
    (BUILDKITE, expected("Buildkite", "https://buildkite.com/acme/shop/builds/42", actor="Jane Doe")),
    (
        AZURE,
        expected(
            "Azure Pipelines",
            "https://dev.azure.com/acme/My%20Shop/_build/results?buildId=42",
            branch="feature/x",
            actor="Jane Doe",
        ),
    ),
    (
        BITBUCKET,
        expected("Bitbucket Pipelines", "https://bitbucket.org/acme/shop/pipelines/results/42", actor="{1f2e}"),
    ),
    (TRAVIS, expected("Travis CI", "https://app.travis-ci.com/acme/shop/builds/42", actor=None)),
    (WOODPECKER, expected("Woodpecker CI", "https://ci.example.org/repos/1/pipeline/42")),
    (DRONE, expected("Drone CI", "https://drone.example.org/acme/shop/42")),
    (JENKINS, expected("Jenkins", "https://ci.example.org/job/shop/42/")),
]


@pytest.mark.parametrize(("env", "values"), CASES, ids=[values["ci_provider"] for _, values in CASES])
def test_a_run_is_described(env: dict[str, str], values: dict[str, str]) -> None:
    assert ci_metadata({"PATH": "/bin", **env}) == values


def test_every_provider_in_the_table_has_a_case() -> None:
    assert [provider.name for provider in PROVIDERS] == [values["ci_provider"] for _, values in CASES]


@pytest.mark.parametrize(
    ("env", "tag"),
    [
        pytest.param({**GITHUB, "GITHUB_REF": "refs/tags/v1.0"}, "v1.0", id="GitHub Actions"),
        pytest.param({**GITLAB, "CI_COMMIT_TAG": "v1.0", "CI_COMMIT_BRANCH": ""}, "v1.0", id="GitLab CI"),
        pytest.param({**CIRCLE, "CIRCLE_TAG": "v1.0", "CIRCLE_BRANCH": ""}, "v1.0", id="CircleCI"),
        pytest.param({**BUILDKITE, "BUILDKITE_TAG": "v1.0", "BUILDKITE_BRANCH": "v1.0"}, "v1.0", id="Buildkite"),
        pytest.param({**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v1.0"}, "v1.0", id="Azure Pipelines"),
        pytest.param({**BITBUCKET, "BITBUCKET_TAG": "v1.0"}, "v1.0", id="Bitbucket Pipelines"),
        pytest.param({**TRAVIS, "TRAVIS_TAG": "v1.0", "TRAVIS_BRANCH": "v1.0"}, "v1.0", id="Travis CI"),
        pytest.param({**WOODPECKER, "CI_COMMIT_TAG": "v1.0"}, "v1.0", id="Woodpecker CI"),
        pytest.param({**DRONE, "DRONE_TAG": "v1.0"}, "v1.0", id="Drone CI"),
        pytest.param({**JENKINS, "TAG_NAME": "v1.0", "BRANCH_NAME": "v1.0"}, "v1.0", id="Jenkins"),
    ],
)
def test_a_run_for_a_tag_has_the_tag_in_place_of_the_branch(env: dict[str, str], tag: str) -> None:
    values = ci_metadata(env)
    assert values["ci_tag"] == tag
    assert "ci_branch" not in values


@pytest.mark.parametrize(
    ("env", "branch"),
    [
        pytest.param(
            {**GITHUB, "GITHUB_HEAD_REF": "fix", "GITHUB_REF": "refs/pull/7/merge"}, "fix", id="GitHub Actions"
        ),
        pytest.param({**GITLAB, "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix"}, "fix", id="GitLab CI"),
        pytest.param({**AZURE, "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/fix"}, "fix", id="Azure Pipelines"),
        pytest.param({**TRAVIS, "TRAVIS_PULL_REQUEST_BRANCH": "fix"}, "fix", id="Travis CI"),
        pytest.param({**WOODPECKER, "CI_COMMIT_SOURCE_BRANCH": "fix"}, "fix", id="Woodpecker CI"),
        pytest.param({**DRONE, "DRONE_SOURCE_BRANCH": "fix"}, "fix", id="Drone CI"),
        pytest.param({**JENKINS, "CHANGE_BRANCH": "fix", "BRANCH_NAME": "PR-7"}, "fix", id="Jenkins"),
        pytest.param({**GITHUB, "GITHUB_REF": "refs/pull/7/merge"}, "pull/7/merge", id="no source branch"),
    ],
)
def test_a_run_for_a_pull_request_has_its_own_branch(env: dict[str, str], branch: str) -> None:
    assert ci_metadata(env)["ci_branch"] == branch


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"CI": "true"},
        {"CI": "1", "GITHUB_ACTIONS": "false"},
        {"GITHUB_ACTIONS": ""},
        {"TRAVIS": "0"},
        {"GITHUB_REPOSITORY": "acme/shop"},
    ],
    ids=str,
)
def test_outside_of_a_known_ci_there_is_nothing(env: dict[str, str]) -> None:
    assert ci_metadata(env) == {}


def test_what_is_not_known_is_left_out() -> None:
    assert ci_metadata({"GITHUB_ACTIONS": "true", "GITHUB_SHA": " ", "GITHUB_ACTOR": "jane"}) == {
        "ci_provider": "GitHub Actions",
        "ci_actor": "jane",
    }


def test_a_step_of_another_system_on_a_jenkins_machine_belongs_to_that_system() -> None:
    assert ci_metadata({**JENKINS, **BUILDKITE})["ci_provider"] == "Buildkite"


@pytest.mark.parametrize(
    ("address", "repository"),
    [
        ("git@github.com:acme/shop.git", "acme/shop"),
        ("https://github.com/acme/shop.git", "acme/shop"),
        ("https://bob:p@ss@github.com/acme/shop", "acme/shop"),
        ("ssh://git@host:2222/acme/shop.git/", "acme/shop"),
        ("/srv/git/shop.git", "srv/git/shop"),
        ("acme/shop", "acme/shop"),
    ],
)
def test_a_repository_is_named_whatever_form_its_address_has(address: str, repository: str) -> None:
    assert ci_metadata({**BUILDKITE, "BUILDKITE_REPO": address})["ci_repository"] == repository


def test_no_credentials_of_a_url_get_through() -> None:
    env = {**JENKINS, "BUILD_URL": "https://bob:secret@ci.example.org/job/1/"}
    values = ci_metadata(env)
    assert values["ci_run_url"] == "https://ci.example.org/job/1/"
    assert "secret" not in str(values)


def test_values_fit_and_can_be_sent() -> None:
    env = {
        **GITHUB,
        "GITHUB_REF": "refs/heads/" + "💥" * 600,
        "GITHUB_ACTOR": "\udcff\x1b[31m",
        "GITHUB_RUN_ID": "4" * 600,
    }
    values = ci_metadata(env)
    assert values["ci_branch"].endswith("…")
    assert "ci_run_url" not in values
    for value in values.values():
        value.encode()
        assert value.isprintable()
        assert len(value.encode("utf-16-le")) // 2 <= 500
