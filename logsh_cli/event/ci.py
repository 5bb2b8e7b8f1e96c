"""CI metadata: what a CI system says about the run. Pure: the environment comes in, values go out.

Names are those of each system's documentation:
GitHub https://docs.github.com/actions/reference/variables-reference · GitLab
https://docs.gitlab.com/ci/variables/predefined_variables · CircleCI https://circleci.com/docs/reference/variables ·
Buildkite https://buildkite.com/docs/pipelines/environment_variables · Azure
https://learn.microsoft.com/azure/devops/pipelines/build/variables · Bitbucket
https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets · Travis
https://docs.travis-ci.com/user/environment-variables · Woodpecker https://woodpecker-ci.org/docs/usage/environment ·
Drone https://docs.drone.io/pipeline/environment/reference · Jenkins: ``/env-vars.html`` of any installation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from logsh_cli.event import MAX_META_VALUE, shorten, utf16_length
from logsh_cli.output.text import USERINFO, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SYSTEMS = """\
GitHub Actions: GITHUB_ACTIONS
  repository GITHUB_REPOSITORY
  branch GITHUB_HEAD_REF GITHUB_REF
  tag GITHUB_REF
  commit GITHUB_SHA
  run_url {GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}
  actor GITHUB_TRIGGERING_ACTOR GITHUB_ACTOR
GitLab CI: GITLAB_CI
  repository CI_PROJECT_PATH
  branch CI_MERGE_REQUEST_SOURCE_BRANCH_NAME CI_COMMIT_BRANCH CI_COMMIT_REF_NAME
  tag CI_COMMIT_TAG
  commit CI_COMMIT_SHA
  run_url CI_JOB_URL CI_PIPELINE_URL
  actor GITLAB_USER_LOGIN GITLAB_USER_NAME
CircleCI: CIRCLECI
  repository {CIRCLE_PROJECT_USERNAME}/{CIRCLE_PROJECT_REPONAME} CIRCLE_REPOSITORY_URL
  branch CIRCLE_BRANCH
  tag CIRCLE_TAG
  commit CIRCLE_SHA1
  run_url CIRCLE_BUILD_URL
  actor CIRCLE_USERNAME CIRCLE_PR_USERNAME
Buildkite: BUILDKITE
  repository BUILDKITE_REPO
  branch BUILDKITE_BRANCH
  tag BUILDKITE_TAG
  commit BUILDKITE_COMMIT
  run_url {BUILDKITE_BUILD_URL}#{BUILDKITE_JOB_ID} BUILDKITE_BUILD_URL
  actor BUILDKITE_BUILD_CREATOR BUILDKITE_BUILD_AUTHOR
Azure Pipelines: TF_BUILD
  repository BUILD_REPOSITORY_NAME
  branch SYSTEM_PULLREQUEST_SOURCEBRANCH BUILD_SOURCEBRANCH
  tag BUILD_SOURCEBRANCH
  commit SYSTEM_PULLREQUEST_SOURCECOMMITID BUILD_SOURCEVERSION
  run_url {SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}
  actor BUILD_REQUESTEDFOR
Bitbucket Pipelines: BITBUCKET_BUILD_NUMBER BITBUCKET_PIPELINE_UUID
  repository BITBUCKET_REPO_FULL_NAME {BITBUCKET_WORKSPACE}/{BITBUCKET_REPO_SLUG}
  branch BITBUCKET_BRANCH
  tag BITBUCKET_TAG
  commit BITBUCKET_COMMIT
  run_url https://bitbucket.org/{BITBUCKET_REPO_FULL_NAME}/pipelines/results/{BITBUCKET_BUILD_NUMBER}
  actor BITBUCKET_STEP_TRIGGERER_UUID
Travis CI: TRAVIS
  repository TRAVIS_REPO_SLUG
  branch TRAVIS_PULL_REQUEST_BRANCH TRAVIS_BRANCH
  tag TRAVIS_TAG
  commit TRAVIS_PULL_REQUEST_SHA TRAVIS_COMMIT
  run_url TRAVIS_JOB_WEB_URL TRAVIS_BUILD_WEB_URL
Woodpecker CI: CI=woodpecker
  repository CI_REPO
  branch CI_COMMIT_SOURCE_BRANCH CI_COMMIT_BRANCH
  tag CI_COMMIT_TAG
  commit CI_COMMIT_SHA
  run_url CI_PIPELINE_URL CI_BUILD_LINK
  actor CI_PIPELINE_AUTHOR CI_COMMIT_AUTHOR
Drone CI: DRONE CI=drone
  repository DRONE_REPO
  branch DRONE_SOURCE_BRANCH DRONE_COMMIT_BRANCH DRONE_BRANCH
  tag DRONE_TAG
  commit DRONE_COMMIT_SHA DRONE_COMMIT
  run_url DRONE_BUILD_LINK
  actor DRONE_COMMIT_AUTHOR DRONE_BUILD_TRIGGER
Jenkins: JENKINS_URL JENKINS_HOME HUDSON_URL
  repository GIT_URL GIT_URL_1 JOB_NAME
  branch CHANGE_BRANCH BRANCH_NAME GIT_LOCAL_BRANCH GIT_BRANCH
  tag TAG_NAME
  commit GIT_COMMIT
  run_url BUILD_URL RUN_DISPLAY_URL
  actor BUILD_USER_ID BUILD_USER CHANGE_AUTHOR
"""
"""Each system with the variables that give it away, any of them (``NAME=value`` for one value), and where things are.

The first that is set counts: a variable, or a text all of whose variables in braces are set. A value that begins with
``refs/`` is a branch or a tag according to what follows, and so can be listed for both. Jenkins is the last: a step of
another system that runs on a Jenkins machine may see its variables as well.
"""

_URL_OR_SCP = re.compile(r"(?:[a-z][a-z0-9+.-]*://[^/]*/|[\w.-]+@[\w.-]+:)(?P<path>.+)", re.IGNORECASE)


def ci_metadata(env: Mapping[str, str]) -> dict[str, str]:
    """Return provider, repository, branch or tag, commit, run URL and actor, as far as known; empty outside of CI.

    No value is empty, longer than the service takes, or holds the credentials of a URL.
    """
    for system in re.split(r"\n(?=\S)", _SYSTEMS):
        name, clues, *fields = re.split(r": |\n  ", system.strip())
        if any(_gives_away(clue, env) for clue in clues.split()):
            break
    else:
        return {}
    found = {field: _first(places, env) for field, *places in map(str.split, fields)}
    tag = found["tag"]
    tag = "" if tag.startswith("refs/") and not tag.startswith("refs/tags/") else tag.removeprefix("refs/tags/")
    run_url = found["run_url"].replace(" ", "%20")
    path = _URL_OR_SCP.fullmatch(found["repository"])
    values = {
        "ci_provider": name,
        "ci_repository": (path["path"] if path else found["repository"]).strip("/").removesuffix(".git"),
        # For a tag most systems give its name as the branch, too.
        "ci_branch": "" if tag else re.sub(r"^(refs/(heads/|remotes/)?)?(origin/)?", "", found["branch"]),
        "ci_tag": tag,
        "ci_commit": found["commit"],
        "ci_run_url": run_url if utf16_length(run_url) <= MAX_META_VALUE else "",  # half a URL leads nowhere
        "ci_actor": found.get("actor", ""),
    }
    return {key: shorten(value, MAX_META_VALUE) for key, value in values.items() if value}


def _gives_away(clue: str, env: Mapping[str, str]) -> bool:
    name, wanted, value = clue.partition("=")
    given = env.get(name, "").strip().lower()
    return given == value if wanted else given not in ("", "0", "false")


def _first(places: Sequence[str], env: Mapping[str, str]) -> str:
    for place in places:
        template = place if "{" in place else f"{{{place}}}"
        if all(env.get(name, "").strip() for name in re.findall(r"{(\w+)}", template)):
            filled = re.sub(r"{(\w+)}", lambda match: env[match[1]].strip(), template)
            return re.sub(USERINFO, "", printable(filled))
    return ""
