"""Plans, compared without a kernel."""

from __future__ import annotations

import dataclasses

import pytest

from workbench.errors import InvalidInput, Unsupported
from workbench.linux.host import Host
from workbench.linux.mount import Mount
from workbench.linux.namespaces import FLAGS
from workbench.oci.runtime_spec import (
    Capabilities,
    Hook,
    Hooks,
    IDMapping,
    Linux,
    MountPoint,
    Namespace,
    Process,
    Rlimit,
    Root,
    Seccomp,
    SeccompRule,
    Spec,
)
from workbench.runtime import file_steps, steps
from workbench.runtime.example import example
from workbench.runtime.execute import plan_execute
from workbench.runtime.plan import InitPlan, plan

ROOT = Host(uid=0, gid=0, rootless=False, user_namespaces=True, proc_mount=True, cgroup="v2",
            cgroup_hierarchies=(("", "/sys/fs/cgroup"),),
            capabilities=frozenset({"CAP_KILL", "CAP_CHOWN"}))  # fmt: skip
USER = dataclasses.replace(ROOT, uid=1000, gid=1000, rootless=True)
ONE = (IDMapping(container_id=0, host_id=1000, size=1),)
LAYERS = Mount(type="overlay", source="overlay", options=("lowerdir=/l",))


def spec(linux: Linux | None = None, **changes: object) -> Spec:
    base = example()
    linux = linux or base.linux
    process = dataclasses.replace(base.process or Process(), terminal=False)
    return dataclasses.replace(
        base, linux=linux, process=changes.pop("process", process), **changes
    )


def planned(
    value: Spec, host: Host = ROOT, mounts: tuple[Mount, ...] = (LAYERS,), **options: object
) -> InitPlan:
    return plan(value, host, mounts, rootfs="/b/rootfs", bundle="/b", **options)  # type: ignore[arg-type]


def kinds(todo: InitPlan) -> list[str]:
    return [type(step).__name__ for step in (*todo.prepare, *todo.begin)]


def index(todo: InitPlan, name: str) -> int:
    return kinds(todo).index(name)


def namespaces(*names: str) -> tuple[Namespace, ...]:
    return tuple(Namespace(type=name) for name in names)


def test_one_clone_makes_all_but_the_late_namespaces() -> None:
    todo = planned(spec())
    assert todo.clone == ("mount", "network", "ipc", "uts", "pid")
    assert todo.flags == sum(FLAGS[kind] for kind in todo.clone)
    assert file_steps.MountRoot(LAYERS, "/b/rootfs") in todo.prepare


def test_the_cgroup_namespace_comes_after_the_cgroup_and_before_its_mount() -> None:
    todo = planned(spec())
    wait = todo.prepare.index(steps.AwaitParent("the cgroup"))
    unshare = todo.prepare.index(steps.Unshare("cgroup"))
    mounts = [i for i, s in enumerate(todo.prepare) if isinstance(s, file_steps.MountInside)]
    mount = mounts[-1]
    assert wait < unshare < mount
    assert todo.prepare[mount].describe().startswith("mount cgroup2")


def test_everything_that_is_privileged_comes_before_the_privileges_go() -> None:
    todo = planned(spec())
    order = [
        "HideFromOthers",
        "MountRoot",
        "OpenRoot",
        "MountInside",
        "MakeDevice",
        "EnterRoot",
        "DropBounding",
        "ChangeUser",
        "SetCapabilities",
        "FindProgram",
        "AwaitStart",
        "Run",
    ]
    places = [index(todo, name) for name in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("host", "shared", "shown"), [(USER, "", True), (USER, "pid", False), (ROOT, "", False)]
)
def test_the_tools_of_an_ordinary_user_may_join_before_the_start(
    host: Host, shared: str, shown: bool
) -> None:
    kinds_wanted = {"user", "pid", "network", "mount"} - {shared}
    spaces = tuple(Namespace(type=kind) for kind in sorted(kinds_wanted))
    linux = Linux(namespaces=spaces, uid_mappings=ONE, gid_mappings=ONE)
    prepare = planned(spec(linux, hostname=""), host).prepare
    assert (steps.ShowToUser() in prepare) is shown
    if shown:
        assert prepare[-1] == steps.ShowToUser()


def test_masks_are_made_before_the_root_is_entered() -> None:
    todo = planned(spec())
    assert index(todo, "ReadonlyPath") < index(todo, "MaskPath") < index(todo, "EnterRoot")


@pytest.mark.parametrize("no_new", [True, False])
def test_the_filter_comes_as_late_as_it_may(no_new: bool) -> None:
    filter_ = Seccomp(default_action="SCMP_ACT_ALLOW")
    linux = dataclasses.replace(example().linux or Linux(), seccomp=filter_)
    process = dataclasses.replace(example().process or Process(), no_new_privileges=no_new)
    todo = planned(spec(linux, process=process))
    if no_new:
        assert kinds(todo)[-2:] == ["InstallFilter", "Run"]
    else:
        assert index(todo, "InstallFilter") < index(todo, "DropBounding")
    assert todo.filters == (filter_,)


def test_a_filter_without_the_calls_of_the_trampoline_is_respected() -> None:
    rule = SeccompRule(names=("execve", "write", "exit_group"), action="SCMP_ACT_ALLOW")
    filter_ = Seccomp(default_action="SCMP_ACT_KILL", syscalls=(rule,))
    todo = planned(spec(dataclasses.replace(example().linux or Linux(), seccomp=filter_)))
    last = todo.begin[-1]
    assert isinstance(last, steps.Run)
    assert not last.sealed


def test_capabilities_are_cut_to_the_hosts() -> None:
    sets = Capabilities(bounding=("CAP_KILL", "CAP_SYS_ADMIN"), effective=("CAP_SYS_ADMIN",))
    process = Process(args=("x",), capabilities=sets)
    todo = planned(spec(process=process))
    kept = next(s for s in todo.prepare if isinstance(s, steps.SetCapabilities)).capabilities
    assert (kept.bounding, kept.effective) == (("CAP_KILL",), ())


def test_a_user_namespace_has_every_capability() -> None:
    linux = Linux(namespaces=namespaces("user", "mount", "uts"), uid_mappings=ONE, gid_mappings=ONE)
    sets = Capabilities(bounding=("CAP_SYS_ADMIN",))
    todo = planned(spec(linux, process=Process(args=("x",), capabilities=sets), mounts=()), USER)
    assert steps.DropBounding(("CAP_SYS_ADMIN",)) in todo.prepare


def rootless(*names: str, mounts: tuple[MountPoint, ...] = (), host: Host = USER) -> InitPlan:
    linux = Linux(namespaces=namespaces("user", "mount", "uts", *names), uid_mappings=ONE,
                  gid_mappings=ONE)  # fmt: skip
    return planned(spec(linux, mounts=mounts), host, cgroup=False)


def test_rootless_maps_before_anything_else_and_binds_devices() -> None:
    todo = rootless("pid")
    assert todo.uid_mappings == ONE
    assert kinds(todo)[:3] == ["NewSession", "AwaitParent", "BecomeRoot"]
    devices = [s for s in todo.prepare if isinstance(s, file_steps.MakeDevice)]
    assert devices and all(device.bind for device in devices)
    assert next(s for s in todo.prepare if isinstance(s, steps.ChangeUser)).groups is False


@pytest.mark.parametrize(
    ("kind", "names", "host", "expected"),
    [
        ("proc", ("pid",), USER, "proc"),
        ("proc", (), USER, "/proc"),
        ("proc", ("pid",), dataclasses.replace(USER, proc_mount=False), "/proc"),
        ("sysfs", ("network",), USER, "sysfs"),
        ("sysfs", (), USER, "/sys"),
        ("mqueue", ("ipc",), USER, "mqueue"),
        ("mqueue", (), USER, "/dev/mqueue"),
    ],
)
def test_what_may_not_be_mounted_afresh_is_bound(kind: str, names: tuple[str, ...], host: Host,
                                                 expected: str) -> None:  # fmt: skip
    point = MountPoint(destination="/m", type=kind, source=kind, options=("nosuid", "x=1"))
    todo = rootless(*names, mounts=(point,), host=host)
    made = next(s for s in todo.prepare if isinstance(s, file_steps.MountInside)).mount
    assert made.source == expected
    if expected.startswith("/"):
        assert (made.type, made.options) == ("bind", ("rbind", "nosuid"))


def test_ids_that_are_not_mapped_are_left_out_of_mount_options() -> None:
    point = MountPoint(destination="/p", type="devpts", source="d", options=("gid=5", "uid=0"))
    todo = rootless(mounts=(point,))
    made = next(s for s in todo.prepare if isinstance(s, file_steps.MountInside)).mount
    assert made.options == ("uid=0",)


def test_relative_sources_are_relative_to_the_bundle() -> None:
    point = MountPoint(destination="/p", type="bind", source="data/x")
    todo = planned(spec(mounts=(point,)))
    made = next(s for s in todo.prepare if isinstance(s, file_steps.MountInside)).mount
    assert made == Mount(type="bind", source="/b/data/x", target="/p", options=("bind",))


def test_a_bound_dev_is_left_alone() -> None:
    point = MountPoint(destination="/dev", type="bind", source="/dev", options=("rbind",))
    assert "MakeDevice" not in kinds(planned(spec(mounts=(point,))))


def test_v1_cgroups_get_a_directory_each() -> None:
    host = dataclasses.replace(ROOT, cgroup="hybrid", cgroup_hierarchies=(
        ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"), ("name=systemd", "/sys/fs/cgroup/systemd"),
        ("", "/sys/fs/cgroup/unified"),
    ))  # fmt: skip
    todo = planned(spec(), host)
    made = {s.mount.target: s.mount for s in todo.prepare if isinstance(s, file_steps.MountInside)}
    assert made["/sys/fs/cgroup"].type == "tmpfs"
    assert made["/sys/fs/cgroup/cpu,cpuacct"].options[-1] == "cpu,cpuacct"
    assert made["/sys/fs/cgroup/systemd"].options[-1] == "name=systemd"
    assert "/sys/fs/cgroup/unified" not in made
    assert file_steps.RemountReadonly("/sys/fs/cgroup") in todo.prepare


def test_joined_namespaces_are_entered_before_the_clone_user_first() -> None:
    joined = (Namespace(type="network", path="/n"), Namespace(type="user", path="/u"))
    linux = Linux(namespaces=(*joined, *namespaces("mount", "uts")))
    todo = planned(spec(linux, mounts=()))
    assert [ns.type for ns in todo.join] == ["user", "network"]
    assert todo.clone == ("mount", "uts")
    assert todo.uid_mappings == ()
    assert "LoopbackUp" not in kinds(todo)


def test_hooks_stand_where_the_specification_wants_them() -> None:
    hooks = Hooks(create_container=(Hook(path="/c"),), start_container=(Hook(path="/s"),))
    todo = planned(spec(hooks=hooks))
    inside = todo.prepare.index(steps.RunHook("createContainer", Hook(path="/c")))
    assert index(todo, "AskForHooks") < inside < index(todo, "EnterRoot")
    assert [type(s).__name__ for s in todo.begin] == ["AwaitStart", "RunHook", "Run"]


@pytest.mark.parametrize(
    ("linux", "text"),
    [
        (Linux(namespaces=namespaces("mount", "mount")), "twice"),
        (Linux(namespaces=namespaces("mount", "moon")), "unknown type 'moon'"),
        (Linux(namespaces=(Namespace(type="mount", path="x"),)), "must be absolute"),
        (Linux(namespaces=namespaces("mount", "user")), "needs uidMappings"),
        (Linux(namespaces=namespaces("uts")), "mount namespace"),
        (Linux(namespaces=namespaces("mount")), "uts namespace"),
        (Linux(namespaces=namespaces("mount", "uts"), sysctl={"net.x": "1"}), "separate kernel"),
        (Linux(namespaces=namespaces("mount", "uts"), sysctl={"vm.swappiness": "1"}), "separate"),
        (Linux(namespaces=namespaces("mount", "uts"), sysctl={"net..x": "1"}), "no name"),
        (Linux(namespaces=namespaces("mount", "uts"), rootfs_propagation="odd"), "'odd'"),
    ],
)
def test_contradictions_are_refused(linux: Linux, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        planned(spec(linux))


@pytest.mark.parametrize("process", [None, Process(), Process(args=("x",), cwd="rel")])
def test_a_process_must_have_a_program_and_an_absolute_directory(process: Process | None) -> None:
    with pytest.raises(InvalidInput, match=r"process\."):
        planned(spec(process=process))


def test_what_the_host_lacks_is_said() -> None:
    with pytest.raises(Unsupported, match="user namespace"):
        planned(spec(), USER)
    with pytest.raises(Unsupported, match="AppArmor"):
        planned(spec(process=Process(args=("x",), apparmor_profile="p")))
    linux = Linux(namespaces=namespaces("user", "mount"), uid_mappings=ONE, gid_mappings=ONE)
    host = dataclasses.replace(USER, user_namespaces=False, reasons=(("user_namespaces", "why"),))
    with pytest.raises(Unsupported) as caught:
        planned(spec(linux, mounts=(), hostname=""), host)
    assert caught.value.hint == "why"
    time = Linux(namespaces=namespaces("mount", "time", "uts"))
    with pytest.raises(Unsupported, match="time"):
        planned(spec(time), dataclasses.replace(ROOT, namespaces=frozenset({"mount", "uts"})))


def test_every_step_explains_itself_with_call_and_man_page() -> None:
    limits = (Rlimit(type="RLIMIT_CORE", soft=0, hard=0),)
    process = example().process or Process()
    process = dataclasses.replace(process, oom_score_adj=5, rlimits=limits)
    todo = planned(spec(process=process))
    for step in (*todo.prepare, *todo.begin):
        assert step.call and step.manual.endswith(")"), step
        assert step.manual in step.explain()
    text = todo.explain()
    assert text.splitlines()[0].startswith("clone(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC")
    assert "pivot_root(), umount2(MNT_DETACH)  [pivot_root(2)]" in text
    assert "created; from start on:" in text


def test_a_plain_root_is_bound_on_itself() -> None:
    todo = planned(Spec(root=Root(path="rootfs"), process=Process(args=("x",)),
                        linux=Linux(namespaces=namespaces("mount"))), mounts=())  # fmt: skip
    assert file_steps.BindRoot("/b/rootfs") in todo.prepare


def test_a_further_process_is_stripped_before_it_is_forked() -> None:
    value = spec()
    todo = plan_execute(value, Process(args=("x",)), ROOT, ("mount", "pid"))
    assert todo.flags == FLAGS["mount"] | FLAGS["pid"]
    stage = [type(step).__name__ for step in todo.stage]
    assert {"DropBounding", "ChangeUser", "SetCapabilities", "FindProgram"} <= set(stage)
    assert [type(step).__name__ for step in todo.final] == ["NewSession", "Run"]
