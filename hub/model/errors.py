"""Errors that a person can act on: a code, a cause in one line, and how to fix it.

Exit codes of the command line follow the code's family, see ``ExitCode``. The catalogue of codes, with their titles in
English and Chinese, is ``CODES``: a test holds that every code raised in the source stands there.
Never put a field value into a message: names, classes and counts only.
"""

import errno
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec


class ExitCode(IntEnum):
    """What the command line returns."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DENIED = 3
    DEPENDENCY = 4
    INTEGRITY = 5
    INTERRUPTED = 130


class Code(msgspec.Struct, frozen=True):
    """One code of the catalogue: its exit code, its HTTP status and its title in both languages."""

    exit: ExitCode
    status: int
    en: str
    zh: str


_U, _F, _D, _P, _I = ExitCode.USAGE, ExitCode.FAILURE, ExitCode.DENIED, ExitCode.DEPENDENCY, ExitCode.INTEGRITY

CODES: Final[Mapping[str, Code]] = {
    # names and configuration
    "HUB-NAME-001": Code(_U, 422, "not a dataset name", "数据集名称无效"),
    "HUB-NAME-002": Code(_U, 422, "not a region code", "行政区划代码无效"),
    "HUB-NAME-003": Code(_U, 422, "not a valid slug", "标识符无效"),
    "HUB-CONF-001": Code(_U, 422, "configuration is not valid", "配置无效"),
    "HUB-CONF-002": Code(_U, 422, "unknown configuration key", "未知配置项"),
    "HUB-CONF-003": Code(_P, 503, "a prerequisite is missing", "缺少运行前提"),
    # command line
    "HUB-CLI-001": Code(_U, 422, "command line is not valid", "命令行参数无效"),
    "HUB-CLI-002": Code(_F, 500, "unexpected failure", "意外故障"),
    "HUB-CLI-003": Code(_F, 501, "command is not part of this build", "此版本不含该命令"),
    "HUB-UP-001": Code(_F, 409, "this hub is up already", "该枢纽已在运行"),
    "HUB-UP-002": Code(_P, 503, "a part of the hub did not start", "枢纽组件启动失败"),
    "HUB-UP-003": Code(_F, 504, "the hub did not stop in time", "枢纽未能及时停止"),
    # broker
    "HUB-BROKER-001": Code(_P, 503, "broker does not answer", "消息代理无响应"),
    "HUB-BROKER-002": Code(_P, 503, "broker is too old", "消息代理版本过旧"),
    "HUB-BROKER-003": Code(_P, 503, "embedded broker is already running on this folder", "该目录上的内置消息代理已在运行"),
    "HUB-BROKER-004": Code(_P, 503, "port is taken", "端口已被占用"),
    "HUB-BROKER-005": Code(_P, 503, "Java is missing or too old", "缺少 Java 或版本过旧"),
    "HUB-BROKER-006": Code(_P, 503, "not enough disk space", "磁盘空间不足"),
    "HUB-BROKER-007": Code(_P, 503, "embedded broker stopped while starting", "内置消息代理启动失败"),
    "HUB-BROKER-008": Code(_F, 409, "topic exists with other settings", "主题已存在且配置不同"),
    "HUB-BROKER-009": Code(_F, 404, "topic does not exist", "主题不存在"),
    "HUB-BROKER-010": Code(_P, 503, "broker refused a request", "消息代理拒绝请求"),
    # files and the machine
    "HUB-FILE-001": Code(_P, 503, "no room is left on the disk", "磁盘已无空间"),
    "HUB-FILE-002": Code(_P, 503, "files may not be read or written", "文件不可读写"),
    "HUB-FILE-003": Code(_P, 503, "the system refused", "系统拒绝操作"),
    # store and serve
    "HUB-STORE-001": Code(_P, 503, "database does not answer", "数据库无响应"),
    "HUB-STORE-002": Code(_I, 500, "database was written by a newer hub", "数据库版本高于程序"),
    "HUB-STORE-003": Code(_I, 500, "database belongs to another hub", "数据库属于另一个枢纽"),
    "HUB-STORE-004": Code(_P, 503, "database is behind this program", "数据库版本低于程序"),
    "HUB-STORE-005": Code(_U, 422, "database is not a hub's", "该数据库不属于枢纽"),
    "HUB-STORE-006": Code(_I, 500, "database could not be upgraded", "数据库升级失败"),
    "HUB-STORE-007": Code(_P, 409, "database is in use by a serve", "数据库正由服务进程使用"),
    "HUB-SERVE-001": Code(_P, 503, "cityhub serve does not answer", "服务进程无响应"),
    "HUB-SERVE-002": Code(_P, 503, "this serve stands by", "本服务处于备用状态"),
    "HUB-SERVE-003": Code(_I, 503, "hub.plan is ahead of the database", "计划主题领先于数据库"),
    "HUB-SERVE-004": Code(_P, 503, "serve is busy", "服务繁忙"),
    "HUB-SERVE-005": Code(_P, 503, "this serve no longer leads", "本服务已失去主导权"),
    # catalogue and schemas
    "HUB-DATASET-001": Code(_U, 422, "dataset entry is not valid", "目录条目无效"),
    "HUB-DATASET-002": Code(_D, 403, "secret data may not enter the hub", "涉密数据不得进入"),
    "HUB-DATASET-003": Code(_F, 404, "dataset is not known", "数据集不存在"),
    "HUB-DATASET-004": Code(_F, 409, "dataset exists with other content", "数据集已存在且内容不同"),
    "HUB-DATASET-005": Code(_F, 409, "dataset is not published", "数据集尚未发布"),
    "HUB-SCHEMA-001": Code(_U, 422, "schema is not valid Avro", "模式不是有效的 Avro"),
    "HUB-SCHEMA-002": Code(_D, 422, "schema does not pass the gate", "模式未通过静态检查"),
    "HUB-SCHEMA-003": Code(_F, 404, "schema is not known", "模式不存在"),
    "HUB-SCHEMA-004": Code(_F, 409, "schema is not compatible", "模式不兼容"),
    "HUB-SCHEMA-005": Code(_D, 422, "subject belongs to no dataset", "该模式主题不属于任何数据集"),
    "HUB-SCHEMA-006": Code(_P, 503, "schema is not in hub.plan yet", "模式尚未进入计划主题"),
    # agreements
    "HUB-AGREE-001": Code(_U, 422, "agreement file is not valid", "协议文件无效"),
    "HUB-AGREE-002": Code(_F, 404, "agreement is not known", "协议不存在"),
    "HUB-AGREE-003": Code(_F, 409, "agreement version exists with other terms", "协议版本已存在且条款不同"),
    "HUB-AGREE-004": Code(_D, 409, "act is not allowed in this state", "当前状态不允许该操作"),
    "HUB-AGREE-005": Code(_U, 422, "agreement cannot be compiled", "协议无法编译"),
    "HUB-AGREE-006": Code(_D, 422, "agreement asks for more than the dataset allows", "协议超出数据集允许范围"),
    "HUB-AGREE-007": Code(_F, 409, "dataset has as many agreements as it may", "数据集的协议数量已达上限"),
    # keys and signatures
    "HUB-KEY-001": Code(_U, 500, "key file is missing or readable by others", "密钥文件缺失或权限过宽"),
    "HUB-KEY-002": Code(_I, 500, "master key contradicts hub.plan", "主密钥与计划主题不符"),
    "HUB-KEY-003": Code(_I, 500, "signature is not valid", "签名无效"),
    "HUB-KEY-004": Code(_I, 500, "key is not trusted", "密钥不受信任"),
    "HUB-KEY-005": Code(_I, 500, "another officer's key signed hub.plan", "计划主题由另一经办人密钥签名"),
    "HUB-PLAN-001": Code(_I, 500, "plan entry is older than known", "计划条目早于已知修订"),
    "HUB-PLAN-002": Code(_I, 500, "plan entry cannot be read", "计划条目无法读取"),
    "HUB-PLAN-003": Code(_F, 422, "change is too large for one entry of hub.plan", "变更超出计划主题的单批限制"),
    "HUB-PLAN-004": Code(_I, 500, "plan entry is newer than this program", "计划条目高于本程序支持的级别"),
    # acts
    "HUB-ACTS-001": Code(_I, 500, "recorded acts were changed", "操作记录被改动"),
    "HUB-ACTS-002": Code(_I, 500, "recorded acts are not those that were anchored", "操作记录与锚点不符"),
    "HUB-ACTS-003": Code(_F, 404, "act is not known", "操作记录不存在"),
    # requests
    "HUB-API-001": Code(_U, 400, "request cannot be read", "请求无法读取"),
    "HUB-API-002": Code(_F, 404, "no such path", "路径不存在"),
    "HUB-API-003": Code(_D, 403, "web pages may not call the hub", "网页不得调用枢纽"),
    # exchange
    "HUB-LANE-001": Code(_I, 500, "partition has no committed position", "分区没有已提交的位置"),
    "HUB-LANE-002": Code(_I, 500, "topic was re-created under the same name", "主题以同名重建"),
    "HUB-LANE-003": Code(_I, 500, "position lies beyond the end of the log", "位置超出日志末尾"),
    "HUB-LANE-004": Code(_I, 500, "plan offset lies beyond the end of hub.plan", "计划偏移超出计划主题末尾"),
    "HUB-LANE-005": Code(_I, 500, "position cannot be read", "位置元数据无法读取"),
    "HUB-LANE-006": Code(_I, 500, "conservation does not hold", "守恒检查失败"),
    "HUB-LANE-007": Code(_P, 503, "plan is not fresh", "计划不够新"),
    "HUB-LANE-008": Code(_P, 503, "quarantine or usage topic is gone", "隔离或计量主题缺失"),
    "HUB-LANE-009": Code(_D, 409, "adopting there would deliver records twice", "该位置会造成重复交付"),
    "HUB-LANE-010": Code(_F, 404, "partition is not part of the exchange", "分区不属于交换"),
    "HUB-LANE-011": Code(_I, 500, "step could not be decided", "步骤无法决策"),
    "HUB-LANE-012": Code(_I, 409, "partition lies beyond those of its dataset", "分区超出数据集的分区数"),
    "HUB-LANE-013": Code(_P, 503, "partition refuses for now", "分区暂时拒绝写入"),
    "HUB-LANE-014": Code(_P, 503, "share partition cannot be delivered to", "无法向共享分区交付"),
    "HUB-LANE-015": Code(_I, 500, "nearly every record would be quarantined", "几乎所有记录都将被隔离"),
    "HUB-LANE-016": Code(_P, 503, "no worker has the partition", "没有交换进程负责该分区"),
    # ledger
    "HUB-LEDGER-001": Code(_I, 500, "chain of usage steps is broken", "计量链断裂"),
    "HUB-LEDGER-002": Code(_I, 500, "ledger differs from the deliveries", "账本与交付不一致"),
    "HUB-LEDGER-003": Code(_U, 422, "period is not valid", "账期无效"),
    "HUB-LEDGER-004": Code(_F, 404, "tariff is not known", "收费标准不存在"),
    "HUB-LEDGER-005": Code(_F, 404, "chain is not known", "计量链不存在"),
    "HUB-LEDGER-006": Code(_I, 500, "hub.usage is not the log that the ledger read", "计量主题与账本所读日志不符"),
    "HUB-LEDGER-007": Code(_P, 503, "topic could not be read to its end", "主题未能读到末尾"),
    "HUB-LEDGER-008": Code(_I, 500, "agreement in the database is not what was signed", "数据库中的协议与签名内容不符"),
    "HUB-LEDGER-009": Code(_D, 409, "usage of a topic that no dataset has", "计量主题不属于任何数据集"),
    "HUB-LEDGER-010": Code(_F, 409, "nothing of hub.usage is lost", "计量主题没有丢失任何内容"),
    "HUB-LEDGER-011": Code(_F, 409, "the loss is not the one that was shown", "丢失的内容与先前显示的不一致"),
    # connectors
    "HUB-CONN-001": Code(_U, 422, "connector file is not valid", "连接器配置无效"),
    "HUB-CONN-002": Code(_U, 422, "file encoding is not readable", "文件编码无法识别"),
    "HUB-CONN-003": Code(_U, 422, "file header does not fit the schema", "表头与模式不符"),
    "HUB-CONN-004": Code(_F, 422, "row does not fit the schema", "数据行与模式不符"),
    "HUB-CONN-005": Code(_I, 500, "connector position cannot be used", "连接器位置不可用"),
    "HUB-CONN-006": Code(_F, 409, "a file changed while it was being read", "文件在读取过程中被修改"),
    "HUB-CONN-007": Code(_P, 503, "connector could not publish", "连接器发布失败"),
    "HUB-CONN-008": Code(_F, 409, "connector remembers no more files", "连接器已达文件记录上限"),
    "HUB-CONN-009": Code(_P, 409, "connector is already running", "连接器已在运行"),
    "HUB-CONN-010": Code(_D, 409, "publishing anew would publish records twice", "重新发布会造成重复"),
    "HUB-CONN-011": Code(_P, 503, "connector cannot use its files", "连接器无法读写文件"),
    "HUB-CONN-012": Code(_F, 422, "too many rows were set aside", "搁置的行过多"),
    # demo
    "HUB-DEMO-001": Code(_I, 500, "demo differs from the independent reckoning", "演示结果与独立核算不一致"),
    "HUB-DEMO-002": Code(_P, 503, "a part of the demo stopped", "演示组件意外停止"),
}


class HubError(Exception):
    """A refusal or failure with a code of ``CODES``, its cause and the way to fix it."""

    def __init__(self, code: str, message: str, fix: str = "", *, problems: tuple["Problem", ...] = ()) -> None:
        """Keep the parts apart; ``problems`` lists every fault of a file at once."""
        super().__init__(code, message, fix)
        self.code = code
        self.message = message
        self.fix = fix
        self.problems = problems

    @property
    def entry(self) -> Code:
        """The catalogue entry of this error's code."""
        return CODES[self.code]

    @property
    def written(self) -> str:
        """What may be stored of it for ever: code, the code's own title and how many faults; no word of whoever was refused."""
        many = len(self.problems)
        return f"{self.code} {self.entry.en}" + (f", {many} faults" if many > 1 else "")

    def __str__(self) -> str:
        """Return ``CODE message``."""
        return f"{self.code} {self.message}"


class Problem(msgspec.Struct, frozen=True):
    """One fault of an input file: where it stands, what is wrong, how to mend it."""

    where: str
    """File and line, as ``agreement.yaml:7``."""
    field: str
    """Path of the field, as ``rows.all[0].eq``."""
    message: str
    fix: str


def of_system(error: OSError, *, doing: str, path: str = "") -> HubError:
    """Return the coded error for what the operating system refused while ``doing`` something.

    ``path`` is named where it is ours, as the state folder is; the file of ``error`` itself may be somebody's, and its name a value.
    """
    where = f" `{path}`" if path else ""
    code, why, fix = _OF_SYSTEM.get(error.errno or 0, ("HUB-FILE-003", "", "look at the machine's limits and its log"))
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return HubError(code, f"cannot {doing}{where}: {why or name}", fix)


_NO_ROOM: Final = ("HUB-FILE-001", "no space is left on the device", "make room there: what waits goes on by itself")
_NO_RIGHT: Final = ("HUB-FILE-002", "permission denied", "give the user of this process the right to write there, or set `--state`")
_OF_SYSTEM: Final = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: ("HUB-FILE-001", "the quota is used up", "make room there: what waits goes on by itself"),
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: ("HUB-FILE-002", "the file system is read-only", "mount it for writing, or set `--state` to another folder"),
    errno.ENOTDIR: ("HUB-FILE-002", "a file stands where a folder must be", "move it away, or set `--state` to another folder"),
    errno.EISDIR: ("HUB-FILE-002", "a folder stands where a file must be", "move it away"),
    errno.EMFILE: ("HUB-FILE-003", "too many open files", "raise `ulimit -n`"),
    errno.ENFILE: ("HUB-FILE-003", "the machine has too many open files", "raise `fs.file-max`"),
}
