"""Docker's default seccomp profile as data: what is allowed, and under which conditions.

Source: the ``seccomp/default.json`` that Docker publishes for its engine. Everything that no rule
allows fails with EPERM. A rule counts when *all* of ``needs`` are among the container's
capabilities, none of ``without`` is, and the architecture (as GOARCH spells it) and kernel fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.oci.runtime_spec import SeccompArg

NEW_NAMESPACES: Final = 0x7E020000
"""The CLONE_NEW* flags of clone(2): who may not unshare may not clone with these either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Some calls (``names``, separated by spaces), an answer, and when the rule counts."""

    names: str
    action: str = "SCMP_ACT_ALLOW"
    errno_ret: int | None = None
    args: tuple[SeccompArg, ...] = ()
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    not_architectures: tuple[str, ...] = ()
    kernel: tuple[int, int] = (0, 0)


def _first(op: str, value: int) -> tuple[SeccompArg, ...]:
    return (SeccompArg(index=0, op=f"SCMP_CMP_{op}", value=value),)


_ALWAYS: Final = """
_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir
chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range
creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2
fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents
getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid
getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32
getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel
io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get
ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr
lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe
pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2
prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead
readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages
removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address
setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64
statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill
time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""

# Address families: everything but AF_ALG (38) and AF_VSOCK (40).
_SOCKETS: Final = tuple(
    Rule(names="socket", args=_first(op, family))
    for op, family in (("LT", 38), ("EQ", 39), ("GT", 40))
)

# PER_LINUX, PER_LINUX32, UNAME26, both, and the value that only asks.
_PERSONALITIES: Final = tuple(
    Rule(names="personality", args=_first("EQ", value))
    for value in (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
)

_MACHINES: Final = (
    Rule(names="sync_file_range2 swapcontext", architectures=("ppc64le",)),
    Rule(
        names="arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
        architectures=("arm", "arm64"),
    ),
    Rule(names="arch_prctl", architectures=("amd64",)),
    Rule(names="modify_ldt", architectures=("amd64", "386")),
    Rule(
        names="s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
        architectures=("s390", "s390x"),
    ),
    Rule(names="riscv_flush_icache", architectures=("riscv64",)),
)

_S390: Final = ("s390", "s390x")  # clone(2) has its first two arguments the other way round there
_CLONES: Final = (
    Rule(
        names="clone",
        args=(SeccompArg(index=0, op="SCMP_CMP_MASKED_EQ", value=NEW_NAMESPACES),),
        without=("CAP_SYS_ADMIN",),
        not_architectures=_S390,
    ),
    Rule(
        names="clone",
        args=(SeccompArg(index=1, op="SCMP_CMP_MASKED_EQ", value=NEW_NAMESPACES),),
        without=("CAP_SYS_ADMIN",),
        architectures=_S390,
    ),
    # Its flags lie in memory, where no filter looks: ENOSYS sends the C library back to clone.
    Rule(names="clone3", action="SCMP_ACT_ERRNO", errno_ret=38, without=("CAP_SYS_ADMIN",)),
)

_BY_CAPABILITY: Final = tuple(
    Rule(names=names, needs=(f"CAP_{capability}",))
    for capability, names in (
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        (
            "SYS_ADMIN",
            "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
            "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount "
            "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
            "umount umount2 unshare",
        ),
        ("SYS_BOOT", "reboot"),
        ("SYS_CHROOT", "chroot"),
        ("SYS_MODULE", "delete_module init_module finit_module"),
        ("SYS_PACCT", "acct"),
        (
            "SYS_PTRACE",
            "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
        ),
        ("SYS_RAWIO", "iopl ioperm"),
        ("SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
        ("SYS_TTY_CONFIG", "vhangup"),
        ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
        ("SYSLOG", "syslog"),
        ("BPF", "bpf"),
        ("PERFMON", "perf_event_open"),
    )
)

RULES: Final = (
    Rule(names=_ALWAYS),
    # Before 4.8 a tracer could change a call after the filter had seen it.
    Rule(names="process_vm_readv process_vm_writev ptrace", kernel=(4, 8)),
    *_SOCKETS,
    *_PERSONALITIES,
    *_MACHINES,
    *_CLONES,
    *_BY_CAPABILITY,
)

SUB_ARCHITECTURES: Final = {
    "amd64": ("X86_64", "X86", "X32"),
    "arm64": ("AARCH64", "ARM"),
    "mips64": ("MIPS64", "MIPS", "MIPS64N32"),
    "mips64le": ("MIPSEL64", "MIPSEL", "MIPSEL64N32"),
    "s390x": ("S390X", "S390"),
    "riscv64": ("RISCV64",),
    "loong64": ("LOONGARCH64",),
}
"""The architectures whose calls a machine (GOARCH) also takes, its own first."""
