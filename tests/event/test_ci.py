"""The metadata that each CI system's variables give."""

from __future__ import annotations

from collections import defaultdict

from logsh_cli.event.ci import ci_metadata

SYSTEMS = """\
GitHub Actions
  sets CI=true GITHUB_ACTIONS=true GITHUB_REPOSITORY=acme/shop GITHUB_REF=refs/heads/main GITHUB_SHA=SHA
    GITHUB_SERVER_URL=https://github.com GITHUB_RUN_ID=42 GITHUB_ACTOR=jane
  run_url https://github.com/acme/shop/actions/runs/42
  tag GITHUB_REF=refs/tags/v1.0
  source_branch GITHUB_HEAD_REF=fix GITHUB_REF=refs/pull/7/merge
GitLab CI
  sets GITLAB_CI=true CI_PROJECT_PATH=acme/shop CI_COMMIT_BRANCH=main CI_COMMIT_REF_NAME=main
    CI_COMMIT_SHA=SHA CI_JOB_URL=https://gitlab.com/acme/shop/-/jobs/42
    CI_PIPELINE_URL=https://gitlab.com/acme/shop/-/pipelines/7 GITLAB_USER_LOGIN=jane
  run_url https://gitlab.com/acme/shop/-/jobs/42
  tag CI_COMMIT_TAG=v1.0 CI_COMMIT_BRANCH=
  source_branch CI_MERGE_REQUEST_SOURCE_BRANCH_NAME=fix
CircleCI
  sets CIRCLECI=true CIRCLE_PROJECT_USERNAME=acme CIRCLE_PROJECT_REPONAME=shop CIRCLE_BRANCH=main CIRCLE_SHA1=SHA
    CIRCLE_BUILD_URL=https://circleci.com/gh/acme/shop/42 CIRCLE_USERNAME=jane
  run_url https://circleci.com/gh/acme/shop/42
  tag CIRCLE_TAG=v1.0 CIRCLE_BRANCH=
Buildkite
  sets BUILDKITE=true BUILDKITE_REPO=git@github.com:acme/shop.git BUILDKITE_BRANCH=main BUILDKITE_COMMIT=SHA
    BUILDKITE_BUILD_URL=https://buildkite.com/acme/shop/builds/42 BUILDKITE_BUILD_CREATOR=jane
  run_url https://buildkite.com/acme/shop/builds/42
  tag BUILDKITE_TAG=v1.0 BUILDKITE_BRANCH=v1.0
Azure Pipelines
  sets TF_BUILD=True BUILD_REPOSITORY_NAME=acme/shop BUILD_SOURCEBRANCH=refs/heads/main BUILD_SOURCEVERSION=SHA
    SYSTEM_COLLECTIONURI=https://dev.azure.com/acme/ SYSTEM_TEAMPROJECT=My_Shop BUILD_BUILDID=42
    BUILD_REQUESTEDFOR=jane
  run_url https://dev.azure.com/acme/My%20Shop/_build/results?buildId=42
  tag BUILD_SOURCEBRANCH=refs/tags/v1.0
  source_branch SYSTEM_PULLREQUEST_SOURCEBRANCH=refs/heads/fix
Bitbucket Pipelines
  sets BITBUCKET_BUILD_NUMBER=42 BITBUCKET_REPO_FULL_NAME=acme/shop BITBUCKET_BRANCH=main BITBUCKET_COMMIT=SHA
    BITBUCKET_STEP_TRIGGERER_UUID=jane
  run_url https://bitbucket.org/acme/shop/pipelines/results/42
  tag BITBUCKET_TAG=v1.0
Travis CI
  sets TRAVIS=true TRAVIS_REPO_SLUG=acme/shop TRAVIS_BRANCH=main TRAVIS_COMMIT=SHA
    TRAVIS_BUILD_WEB_URL=https://app.travis-ci.com/acme/shop/builds/42
  run_url https://app.travis-ci.com/acme/shop/builds/42
  tag TRAVIS_TAG=v1.0 TRAVIS_BRANCH=v1.0
  source_branch TRAVIS_PULL_REQUEST_BRANCH=fix
Woodpecker CI
  sets CI=woodpecker CI_REPO=acme/shop CI_COMMIT_BRANCH=main CI_COMMIT_SHA=SHA
    CI_PIPELINE_URL=https://ci.example.org/repos/1/pipeline/42 CI_PIPELINE_AUTHOR=jane
  run_url https://ci.example.org/repos/1/pipeline/42
  tag CI_COMMIT_TAG=v1.0
  source_branch CI_COMMIT_SOURCE_BRANCH=fix
Drone CI
  sets CI=true DRONE=true DRONE_REPO=acme/shop DRONE_BRANCH=main DRONE_COMMIT_SHA=SHA
    DRONE_BUILD_LINK=https://drone.example.org/acme/shop/42 DRONE_COMMIT_AUTHOR=jane
  run_url https://drone.example.org/acme/shop/42
  tag DRONE_TAG=v1.0
  source_branch DRONE_SOURCE_BRANCH=fix
Jenkins
  sets JENKINS_URL=https://ci.example.org/ GIT_URL=https://bob:secret@git.example.org/acme/shop.git
    GIT_BRANCH=origin/main GIT_COMMIT=SHA BUILD_URL=https://ci.example.org/job/shop/42/ BUILD_USER_ID=jane
  run_url https://ci.example.org/job/shop/42/
  tag TAG_NAME=v1.0 BRANCH_NAME=v1.0
  source_branch CHANGE_BRANCH=fix BRANCH_NAME=PR-7
"""
"""Of each system what it sets on a branch, the run's URL, and what it sets for a tag and for a pull request."""

SHA = "ffac537e6cbbf934b08745a378932722df287a53"


def read_systems() -> dict[str, dict[str, list[str]]]:
    systems: dict[str, dict[str, list[str]]] = {}
    for line in SYSTEMS.replace("=SHA", f"={SHA}").splitlines():
        if not line.startswith(" "):
            part, parts = "", systems.setdefault(line, defaultdict(list))
            continue
        words = line.split()
        part = part if line.startswith("    ") else words.pop(0)
        parts[part] += words
    return systems


def variables(words: list[str]) -> dict[str, str]:
    return {name: value.replace("_", " ") for name, _, value in (word.partition("=") for word in words)}


ON_A_BRANCH = {name: variables(parts["sets"]) for name, parts in read_systems().items()}


def test_a_run_is_described_for_a_branch_for_a_tag_and_for_a_pull_request() -> None:
    for name, parts in read_systems().items():
        env = ON_A_BRANCH[name]
        values = {"ci_provider": name, "ci_repository": "acme/shop", "ci_branch": "main", "ci_commit": SHA}
        values |= {"ci_run_url": parts["run_url"][0]} | ({"ci_actor": "jane"} if name != "Travis CI" else {})
        assert ci_metadata({"PATH": "/bin", **env}) == values
        tagged = ci_metadata({**env, **variables(parts["tag"])})
        assert (tagged["ci_tag"], tagged.get("ci_branch")) == ("v1.0", None), name
        if parts["source_branch"]:
            assert ci_metadata({**env, **variables(parts["source_branch"])})["ci_branch"] == "fix", name
    merge = {**ON_A_BRANCH["GitHub Actions"], "GITHUB_REF": "refs/pull/7/merge"}
    assert ci_metadata(merge)["ci_branch"] == "pull/7/merge"


def test_what_is_not_known_is_left_out_and_outside_of_a_known_ci_everything() -> None:
    nothing = {"GITHUB_ACTIONS": ""}, {"TRAVIS": "0"}, {"GITHUB_REPOSITORY": "acme/shop"}
    for env in ({}, {"CI": "true"}, {"CI": "1", "GITHUB_ACTIONS": "false"}, *nothing):
        assert ci_metadata(env) == {}, env
    assert ci_metadata({"GITHUB_ACTIONS": "true", "GITHUB_SHA": " ", "GITHUB_ACTOR": "jane"}) == {
        "ci_provider": "GitHub Actions",
        "ci_actor": "jane",
    }


def test_a_step_of_another_system_on_a_jenkins_machine_belongs_to_that_system() -> None:
    assert ci_metadata({**ON_A_BRANCH["Jenkins"], **ON_A_BRANCH["Buildkite"]})["ci_provider"] == "Buildkite"


def test_a_repository_is_named_whatever_form_its_address_has() -> None:
    for address, repository in {
        "git@github.com:acme/shop.git": "acme/shop",
        "https://github.com/acme/shop.git": "acme/shop",
        "https://bob:p@ss@github.com/acme/shop": "acme/shop",
        "ssh://git@host:2222/acme/shop.git/": "acme/shop",
        "/srv/git/shop.git": "srv/git/shop",
        "acme/shop": "acme/shop",
    }.items():
        assert ci_metadata({**ON_A_BRANCH["Buildkite"], "BUILDKITE_REPO": address})["ci_repository"] == repository


def test_no_credentials_of_a_url_get_through() -> None:
    env = {**ON_A_BRANCH["Jenkins"], "BUILD_URL": "https://bob:secret@ci.example.org/job/1/"}
    values = ci_metadata(env)
    assert values["ci_run_url"] == "https://ci.example.org/job/1/"
    assert "secret" not in str(values)


def test_values_fit_and_can_be_sent() -> None:
    env = {
        **ON_A_BRANCH["GitHub Actions"],
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
