"""The rules of ``build --check``, by their public names: BuildKit's build checks and those of
hadolint that most projects keep. Each says why it matters and how to mend it.

Source: Docker's documentation, "Build checks"; hadolint's wiki for the DL rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from workbench.build.source import Span

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``why`` and ``mend`` are one sentence each."""

    name: str
    severity: Severity
    why: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that is broken at a place."""

    rule: Rule
    message: str
    span: Span


_TABLE: Final[tuple[tuple[str, Severity, str, str], ...]] = (
    # BuildKit's build checks
    ("ConsistentInstructionCasing", "info", "Mixed case makes a file harder to read.",
     "Write all instructions in one case."),
    ("CopyIgnoredFile", "warning", "The file is hidden by .dockerignore, so the copy fails.",
     "Take the file out of .dockerignore, or do not copy it."),
    ("DuplicateStageName", "warning", "Only the last stage of a name can be found by it.",
     "Give each stage a name of its own."),
    ("ExposeInvalidFormat", "warning", "EXPOSE takes no host address or host port.",
     "Write the container's port alone, such as EXPOSE 80."),
    ("ExposeProtoCasing", "info", "Protocols are in lower case.", "Write tcp, udp or sctp."),
    ("FromAsCasing", "info", "FROM and AS should have one case.", "Write AS as FROM is written."),
    ("FromPlatformFlagConstDisallowed", "warning",
     "A constant platform keeps the image from being built for others.",
     "Use $BUILDPLATFORM or $TARGETPLATFORM, or name the stage after the platform."),
    ("InvalidDefaultArgInFrom", "warning",
     "Without build arguments the base image has no valid name.",
     "Give the ARG a default that makes a name."),
    ("InvalidDefinitionDescription", "info",
     "A comment right above ARG or FROM is taken as its description.",
     "Begin it with the name, or leave a line between."),
    ("JSONArgsRecommended", "warning",
     "The shell form does not hand signals on, so stopping takes ten seconds.",
     'Use the JSON form, such as CMD ["program", "argument"].'),
    ("LegacyKeyValueFormat", "info", "The form with a blank is old and takes one pair only.",
     "Write NAME=value."),
    ("MaintainerDeprecated", "info", "MAINTAINER is deprecated.",
     'Use LABEL org.opencontainers.image.authors="...".'),
    ("MultipleInstructionsDisallowed", "warning", "Only the last one of its kind counts.",
     "Keep one."),
    ("NoEmptyContinuation", "warning", "An empty line within a continuation will become an error.",
     "Remove the empty line."),
    ("RedundantTargetPlatform", "info", "$TARGETPLATFORM is the default.", "Drop --platform."),
    ("ReservedStageName", "warning", "scratch and context mean something of their own.",
     "Choose another name."),
    ("SecretsUsedInArgOrEnv", "warning", "ARG and ENV stay readable in the image's history.",
     "Use RUN --mount=type=secret."),
    ("StageNameCasing", "info", "Stage names are in lower case.", "Write the name in lower case."),
    ("UndefinedArgInFrom", "warning", "The variable has no value, so it becomes nothing.",
     "Declare it by ARG before the first FROM."),
    ("UndefinedVar", "warning", "The variable has no value, so it becomes nothing.",
     "Declare it by ARG or ENV before."),
    ("WorkdirRelativePath", "warning", "A relative path depends on the base image.",
     "Write an absolute path."),
    # hadolint's
    ("DL3001", "info", "The program makes no sense in a container.", "Remove it."),
    ("DL3002", "warning", "The last USER is root, so the container runs as root.",
     "End with a USER that is not root."),
    ("DL3003", "warning", "cd lasts only for one RUN.", "Use WORKDIR."),
    ("DL3004", "error", "sudo does not behave well in a build.", "Use USER, or run as root."),
    ("DL3006", "warning", "Without a tag the base changes under your feet.", "Name a tag."),
    ("DL3007", "warning", "latest changes under your feet.", "Name a version."),
    ("DL3008", "info", "Versions of packages are left open.", "Write package=version."),
    ("DL3009", "info", "The lists of apt stay in the layer.",
     "End the RUN with rm -rf /var/lib/apt/lists/*."),
    ("DL3013", "info", "Versions of pip packages are left open.", "Write package==version."),
    ("DL3014", "warning", "apt-get install waits for an answer.", "Add -y."),
    ("DL3015", "info", "Recommended packages come along.", "Add --no-install-recommends."),
    ("DL3018", "info", "Versions of apk packages are left open.", "Write package=version."),
    ("DL3019", "info", "The index of apk stays in the layer.", "Use apk add --no-cache."),
    ("DL3020", "warning", "ADD does more than copy.", "Use COPY for files and folders."),
    ("DL3025", "warning", "The shell form does not hand signals on.", "Use the JSON form."),
    ("DL3027", "warning", "apt is made for people, its output may change.", "Use apt-get."),
    ("DL3042", "warning", "The cache of pip stays in the layer.",
     "Use pip install --no-cache-dir, or a cache mount."),
    ("DL3045", "warning", "A relative target depends on the base image.", "Set WORKDIR before."),
    ("DL3059", "info", "Several RUNs in a row make several layers.", "Join them with &&."),
    ("DL4000", "error", "MAINTAINER is deprecated.", "Use a LABEL."),
    ("DL4006", "warning", "A pipe hides the failure of its first parts.",
     'Set SHELL ["/bin/bash", "-o", "pipefail", "-c"] before.'),
    ("WB001", "info", "Copying everything before the install reruns it at every change.",
     "Copy the list of dependencies, install, then copy the rest."),
)  # fmt: skip

RULES: Final = {
    name: Rule(name=name, severity=severity, why=why, mend=mend)
    for name, severity, why, mend in _TABLE
}
