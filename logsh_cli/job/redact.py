"""Make the end of a job's output fit to be sent: no terminal control, no secrets, no more than asked for. Pure.

Everything is redacted before anything is cut, so that a cut can't leave half of a secret that no longer looks like one.
It errs on the side of hiding: a harmless word lost is better than a password told.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from logsh_cli.event import utf16_length
from logsh_cli.output.text import REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHORTEST_SECRET = 4
_SHORTEST_VARIABLE = 8
_SECRET_VARIABLE = re.compile(r"TOKEN|SECRET|PASSW|KEY", re.IGNORECASE)

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].{0,1000}?(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, …: titles and links, if they have their terminator
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)

# Repetitions are bounded and names begin where no name character precedes, or a long line would take quadratic time.
_NAME = (
    r"(?:[\w.-]{0,80}(?:secret|token|passw(?:or)?d|passphrase|pwd|credential|cookie|signature|api-?key|auth(?![a-z])"
    r"|sess(?:ion)?_?id)[\w.-]{0,80}"
    r"|(?:[\w.-]{0,80}[_.-])?(?:key|pass|pw|sig|sid|session|dsn|creds?|secrets)(?:[_.-][\w.-]{0,80})?"
    r"|[a-z]{1,30}key|(?:admin|db|ftp|ldap|mail|mysql|pg|proxy|redis|root|smtp|ssh|store|user)(?:pass|pw))"
)
_QUOTE = r"(?:\\{0,3}[\"']|%2[27]|&quot;)?"
_SEPARATOR = r"[ \t]{0,9}(?::=|=>|[:=]|%3[AD])[ \t]{0,9}"
_VALUE = (
    r"(?:\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?|\\{1,3}[\"'][^\"'\\\n]*(?:\\{1,3}[\"'])?|%22.*?(?:%22|$|\s)"
    r"|[^\s\"']\S*)"
)
_PEM = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_TOOLS_WITH_P = (
    r"(?:mysql\w{0,20}|mariadb\w{0,20}|sshpass|7za?|zip|unzip|(?:docker|podman|helm) login|az login|ldap\w{3,9})"
)

# Each keeps its group 1, which says what it was, and hides the rest.
_CONTEXTS = {
    "RFC 7468, private keys": rf"()-----BEGIN {_PEM}.*?(?:-----END {_PEM}|\Z)",
    "RFC 7468, one whose beginning is out of reach": rf"\A().*?-----END {_PEM}",
    "PuTTY, private keys": r"(\bPrivate-Lines: \d{1,3}\n)(?:[\w+/=]{1,80}\n?){1,99}",
    "RFC 7517, private keys": r"(\"[dpq]\"\s{0,9}:\s{0,9}\")[\w-]{20,}",
    "RFC 3986, user information": r"(://)[^\s/@:]{0,256}:[^\s]{0,512}(?=@)",
    "RFC 3986, a lone token": r"(://)[^\s/?#]{1,512}(?=@)",
    "Oracle, JDBC and sqlplus": r"((?:jdbc:oracle:\w{1,9}:|\bsqlplus\s)[^\s/]{1,99}/)[^\s@]{1,99}(?=@)",
    "RFC 9110, authorization": r"((?:proxy-)?authorization[\"']?[ \t]{0,9}[:=][ \t]{0,9}[\"']?)[^\n\"']+",
    "RFC 6265, cookies": r"(\b(?:set-)?cookie[ \t]{0,9}:[ \t]{0,9})[^\n]+",
    "RFC 6750, bearer tokens": r"(\bbearer[ \t]{1,9})[\w.~+/=-]{6,}",
    "RFC 7617, basic": r"(\bbasic[ \t]{1,9})(?=[\w+/]{0,99}(?-i:[A-Z0-9=]))[A-Za-z0-9+/]{8,}={0,2}",
    "prompts": r"(\bpass(?:word|phrase|wd|code)[ \t]{0,9}:[ \t]{0,9})[^\n]+",
    "YAML, block scalars": rf"((?<![\w.-]){_NAME}[\"']?:[ \t]{{1,9}}[|>][+-]?\d?[ \t]{{0,9}}\n)(?:[ \t]+[^\n]*\n?)+",
    "XML, elements": rf"(<(?:\w{{1,20}}:)?{_NAME}(?:\s[^<>\n]{{0,200}})?>)[^<]+",
    "XML, name and value": rf"(\bname=[\"']{_NAME}[\"']\s{{1,9}}value=){_VALUE}",
    "assignments": rf"((?<![\w.-]){_NAME}{_QUOTE}{_SEPARATOR}){_VALUE}",
    "options": rf"((?<![\w-])--?{_NAME}[ \t]{{1,9}})(?!-){_VALUE}",
    "Dockerfile, csh": rf"((?:^|\n)[ \t]*(?:env|arg|setenv)[ \t]{{1,9}}{_NAME}[ \t]{{1,9}}){_VALUE}",
    "sentences": rf"(\b(?:passw(?:or)?d|passphrase|token|secret|api key)[ \t]{{1,9}}(?:is|was)[ \t:]{{1,9}}){_VALUE}",
    "curl(1), --user": r"((?<![\w-])(?:-u|--user|--proxy-user|-U)[ =]?[\"']?[^\s:\"']{1,99}:)(?!\d{1,6}\b)[^\s\"']+",
    "mysql(1), sshpass(1), zip(1)": rf"(\b{_TOOLS_WITH_P}\b[^\n|;&]{{0,200}}?\s-[pPw] ?){_VALUE}",
    "netrc(5)": r"(\blogin\s{1,9}\S{1,99}\s{1,9}password\s{1,9})\S+",
    "SQL, passwords": (
        r"(\b(?:identified\s{1,9}(?:with\s{1,9}\S{1,40}\s{1,9})?(?:by|as)|password)\s{1,9})['\"][^'\"\n]*['\"]?"
    ),
}

_SHAPES = {
    "1Password": r"ops_eyJ[\w=-]{20,}|A3-[A-Z0-9]{6}-[A-Z0-9]{6}(?:-[A-Z0-9]{5}){3,4}",
    "age": r"AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    "Airtable": r"pat[A-Za-z0-9]{14}\.[0-9a-f]{40,}",
    "Atlassian": r"AT[AC]TT3[\w=-]{16,}|ATBB[\w=-]{16,}",
    "AWS": r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b",
    "Azure AD": r"[\w~.-]{3}\dQ~[\w~.-]{31,34}",
    "Buildkite, CircleCI": r"(?:bk[a-z]{2}_|CCI(?:PAT|PRJ)_)\w{16,}",
    "crates.io": r"cio[A-Za-z0-9]{32}\b",
    "Databricks": r"dapi[0-9a-f]{32}(?:-\d)?",
    "DigitalOcean": r"do[opr]_v1_[0-9a-f]{40,}",
    "Discord": r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}",
    "Docker Hub": r"dckr_[po]at_[\w-]{20,}",
    "Doppler": r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{20,}",
    "Figma, Linear, Netlify, Postman": r"(?:figd_|lin_(?:api|oauth)_|nfp_|PMAK-)[\w-]{20,}",
    "GitHub": r"(?:gh[pousr]_\w{16,}|github_pat_\w{16,})",
    "GitLab": r"gl[a-z]{2,6}-[\w-]{16,}",
    "Google": r"AIza[\w-]{30,}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,}|1//0[\w-]{20,}",
    "Grafana": r"gl(?:c|sa)_[\w+/=-]{20,}|eyJrIjoi[\w+/=-]{20,}",
    "Heroku, Tailscale, Pulumi": r"HRKU-[\w-]{20,}|tskey-[\w-]{16,}|pul-[0-9a-f]{40}",
    "HubSpot": r"pat-[a-z]{2}\d-[0-9a-f-]{36}",
    "Hugging Face, Replicate, Groq, xAI": r"(?:hf_|r8_|gsk_|xai-)[\w-]{20,}",
    "Logsh": r"logsh_[\w-]{8,}",
    "Mailchimp, Mailgun": r"[0-9a-f]{32}-us\d{1,2}\b|key-[0-9a-f]{32}\b",
    "New Relic": r"NR[A-Z]{2}-\w{20,}",
    "Notion": r"ntn_\w{20,}|secret_[A-Za-z0-9]{40,}",
    "npm, PyPI, RubyGems, NuGet": r"npm_\w{30,}|pypi-[\w-]{16,}|rubygems_[0-9a-f]{40,}|oy2[a-z0-9]{43}\b",
    "OpenAI, Anthropic": r"sk-[\w-]{16,}",
    "PlanetScale": r"pscale_(?:tkn|pw|oauth)_[\w.-]{20,}",
    "RFC 7519, web tokens": r"eyJ[\w-]{8,}\.[\w-]*(?:\.[\w-]*)*",
    "SendGrid": r"SG\.[\w-]{16,}\.[\w-]+",
    "Sentry": r"sntry[su]_[\w+/=-]{20,}",
    "Shopify": r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}",
    "Slack": r"xox[a-z](?:\.xox[a-z])?-[\w-]{10,}|xapp-[\w-]{10,}",
    "SonarQube": r"sq[apu]_[0-9a-f]{40}",
    "Square": r"sq0[a-z]{3}-[\w-]{20,}|EAAA[\w-]{50,}",
    "Stripe": r"[sprw]k_(?:live|test)_\w{10,}|whsec_[\w+/=-]{16,}",
    "Supabase": r"sbp_[0-9a-f]{32,}|sb_secret_[\w-]{16,}",
    "Telegram": r"\d{8,10}:AA[\w-]{32,34}",
    "Terraform Cloud": r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}",
    "Twilio": r"SK[0-9a-f]{32}\b",
    "Vault": r"hv[sbr]\.[\w-]{20,}|s\.[A-Za-z0-9]{24}\b",
}

_WEBHOOKS = {
    "Slack": r"(hooks\.slack(?:-gov)?\.com/\w{1,20}/)[\w/-]+",
    "Discord": r"(discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/)[\w/-]+",
    "Teams": r"(\.webhook\.office\.com/webhookb?2?/)[\w/@-]+",
    "Google Chat, Mattermost, Zapier": r"(/(?:v1/spaces/\w{1,40}/messages\?|hooks/(?:catch/)?))[\w/=&%-]{16,}",
    "Telegram": r"(api\.telegram\.org/bot)[\w:-]+",
}

_RULES = {
    **{source: re.compile(pattern, re.IGNORECASE | re.DOTALL) for source, pattern in _CONTEXTS.items()},
    **{f"{source}, webhooks": re.compile(pattern, re.IGNORECASE) for source, pattern in _WEBHOOKS.items()},
    **{f"{source}, tokens": re.compile(rf"()(?<![\w.~-])(?:{pattern})") for source, pattern in _SHAPES.items()},
}
"""Every rule by its source: the document that defines the form, or whoever hands out tokens of that shape."""


def scrub_output(raw: bytes, limit: int, secrets: Iterable[str] = ()) -> str:
    """The last ``limit`` UTF-16 units of a job's output as text that may be sent; empty if there is nothing to show.

    Args:
        raw: bytes in any encoding, read as UTF-8; what is none becomes U+FFFD.
        limit: at most so much is kept, of the end.
        secrets: known values to hide, apart from everything that looks like one.
    """
    text = raw.decode("utf-8", errors="replace")
    text = _CONTROLS.sub("", _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
    return _last(_hide(text, secrets).strip(), limit).strip()


def secret_values(env: Mapping[str, str]) -> list[str]:
    """Return the values of variables whose name says that they are secret."""
    return [value for name, value in env.items() if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_VARIABLE]


def _hide(text: str, secrets: Iterable[str]) -> str:
    for form in sorted({form for secret in secrets for form in _forms(secret.strip())}, key=len, reverse=True):
        text = _without_half(text.replace(form, REDACTED), form)
    for rule in _RULES.values():
        text = rule.sub(rf"\g<1>{REDACTED}", text)
    return text


def _forms(secret: str) -> set[str]:
    """The ways in which a secret may be written: as it is, percent-encoded, and in base64 amid something longer.

    In base64 three bytes are four characters, so what a secret looks like there depends on how many stand before it;
    the characters at its edges depend on its neighbours, and are left out.
    """
    if len(secret) < _SHORTEST_SECRET:
        return set()
    forms = {secret, quote(secret, safe="")}
    raw = secret.encode("utf-8", "surrogateescape")
    if len(raw) >= _SHORTEST_VARIABLE:
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
            whole = encoded[(before * 4 + 2) // 3 : len(encoded) - bool((before + len(raw)) % 3)]
            forms |= {whole, whole.replace("+", "-").replace("/", "_")}
    return forms


def _without_half(text: str, secret: str) -> str:
    """Output that was remembered in part may begin in the middle of a secret."""
    for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
        if text.startswith(secret[-length:]):
            return REDACTED + text[length:]
    return text


def _last(text: str, limit: int) -> str:
    start = max(0, len(text) - limit)
    while utf16_length(text[start:]) > limit:
        start += 1
    return text[start:]
