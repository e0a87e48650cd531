"""``cityhub doctor``: what is well, what is not and how to mend it, and what is not protected yet."""

import sys
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.cli.output import JsonFlag, Session, emit, say, session, table
from hub.model.errors import ExitCode

if TYPE_CHECKING:
    from hub.cli.checks import Finding

NOT_PROTECTED: Final = {
    "en": (
        "no identity: whoever reaches a port acts as the hub's officer; that is why everything binds to 127.0.0.1 only",
        "no TLS, no access control on Kafka: whoever reaches the broker reads every topic (unsigned plan entries are refused)",
        "the embedded broker has replication 1: a power loss may take acknowledged records; use 3 replicas, min in-sync 2",
        "read_uncommitted readers (many clients' default) see copies of aborted steps: set isolation.level=read_committed",
        "keys are files of mode 0600: back them up; losing the master key changes every pseudonym",
    ),
    "zh": (
        "尚无身份认证：能访问端口者即以本地经办人身份操作；因此所有端口仅绑定 127.0.0.1",
        "Kafka 未启用 TLS 与访问控制：能访问消息代理者可读取全部主题（未签名的计划条目会被拒绝）",
        "内置消息代理副本数为 1：断电可能丢失已确认的记录；生产环境请用 3 副本、最少同步副本 2",
        "以 read_uncommitted 读取（许多客户端的默认值）会看到已中止步骤的副本：请设置 isolation.level=read_committed",
        "密钥为权限 0600 的文件：请备份；主密钥丢失后全部假名都会改变",
    ),
}
_HEADINGS: Final = {"en": "not protected yet:", "zh": "尚未保护："}
_SHORT: Final = {
    "en": "{} things are not protected yet: `cityhub doctor --unprotected` lists them",
    "zh": "尚有 {} 项未受保护：`cityhub doctor --unprotected` 逐项列出",
}

app = typer.Typer()


@app.command()
def doctor(
    ctx: typer.Context,
    unprotected: Annotated[bool, typer.Option("--unprotected", help="List what the hub does not protect yet.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check this machine and this hub, and say how much is not protected yet.

    Exit 0: no check failed; 1: one did; 4: something that the hub depends on is down.

    Example: `cityhub doctor --json`
    """
    from hub.cli.checks import run_checks  # noqa: PLC0415 - Kafka's clients and SQL, which `doctor --help` does not need

    found = session(ctx)
    findings = run_checks(found.settings)
    code = exit_code([finding.status for finding in findings.values()])
    if as_json:
        emit({"checks": findings, "not_protected": NOT_PROTECTED[found.lang], "exit": int(code)}, as_json=True)
    else:
        table("", ("check", "status", "found"), list(rows(findings)))
        tell_not_protected(found, all_of_it=unprotected)
    raise typer.Exit(code)


def rows(findings: Mapping[str, "Finding"]) -> Iterator[tuple[str, str, str]]:
    """Return one line per check, and below it the way to mend what is not well."""
    for name, finding in findings.items():
        yield name, finding.status, finding.detail
        if finding.fix:
            yield "", "", f"help: {finding.fix}"


def exit_code(statuses: Collection[str]) -> ExitCode:
    """Return 4 when something is down, else 1 when a check failed, else 0."""
    if "down" in statuses:
        return ExitCode.DEPENDENCY
    return ExitCode.FAILURE if "failed" in statuses else ExitCode.OK


def tell_not_protected(found: Session, *, all_of_it: bool) -> None:
    """Say on stderr what the hub does not protect yet, or only that there is such a list."""
    say("")
    if not all_of_it:
        say(_SHORT[found.lang].format(len(NOT_PROTECTED[found.lang])))
        return
    table(_HEADINGS[found.lang], (), [("-", line) for line in NOT_PROTECTED[found.lang]], stream=sys.stderr)
