-- The facts of one state directory. Times are nanoseconds since the epoch, documents are JSON.
-- Names of images are not here: they live in the store's index.json, where other tools see them.

-- One row per container, from create to rm. `options` is what was asked (RunOptions), `settled`
-- what was decided at creation (mounts, labels, stop signal, ...). The last end is kept here when
-- an engine has seen it; the monitor's exit.json is the first witness.
CREATE TABLE containers (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    image        TEXT NOT NULL,               -- as the user wrote it
    image_id     TEXT NOT NULL,               -- digest of its configuration
    manifest     TEXT NOT NULL,               -- descriptor of its manifest
    options      TEXT NOT NULL,
    settled      TEXT NOT NULL,
    created_ns   INTEGER NOT NULL,
    started_ns   INTEGER,
    finished_ns  INTEGER,
    exit_code    INTEGER,
    oom_killed   INTEGER NOT NULL DEFAULT 0,
    error        TEXT NOT NULL DEFAULT '',
    stopped      INTEGER NOT NULL DEFAULT 0,  -- the user ended it: restart policies rest
    removing     INTEGER NOT NULL DEFAULT 0   -- rm has begun: finish it after a crash
);
CREATE INDEX containers_by_image ON containers (image_id);

-- One row per network. `document` is the network's value.
CREATE TABLE networks (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    document    TEXT NOT NULL,
    created_ns  INTEGER NOT NULL
);

-- One row per container in a network. The two UNIQUEs are what hands out no address twice.
CREATE TABLE endpoints (
    network_id    TEXT NOT NULL REFERENCES networks (id),
    container_id  TEXT NOT NULL REFERENCES containers (id),
    ipv4          TEXT,
    ipv6          TEXT,
    document      TEXT NOT NULL,
    PRIMARY KEY (network_id, container_id),
    UNIQUE (network_id, ipv4),
    UNIQUE (network_id, ipv6)
);

-- Published ports that are taken, so that two containers cannot have one.
CREATE TABLE ports (
    host_ip       TEXT NOT NULL,
    host_port     INTEGER NOT NULL,
    protocol      TEXT NOT NULL,
    container_id  TEXT NOT NULL REFERENCES containers (id),
    container_port INTEGER NOT NULL,
    PRIMARY KEY (host_ip, host_port, protocol)
);

-- One row per named or anonymous volume; its files lie below volumes/NAME/_data.
CREATE TABLE volumes (
    name        TEXT PRIMARY KEY,
    driver      TEXT NOT NULL,
    options     TEXT NOT NULL,
    labels      TEXT NOT NULL,
    anonymous   INTEGER NOT NULL DEFAULT 0,
    populated   INTEGER NOT NULL DEFAULT 0,  -- an image's content has been copied in
    created_ns  INTEGER NOT NULL
);

-- Which container uses which volume.
CREATE TABLE volume_uses (
    volume        TEXT NOT NULL REFERENCES volumes (name),
    container_id  TEXT NOT NULL REFERENCES containers (id),
    PRIMARY KEY (volume, container_id)
);

-- What a build step made, by its cache key.
CREATE TABLE build_cache (
    key         TEXT PRIMARY KEY,
    document    TEXT NOT NULL,
    created_ns  INTEGER NOT NULL,
    used_ns     INTEGER NOT NULL
);

-- One row per build that ended, for `builds ls` and pictures.
CREATE TABLE builds (
    id          TEXT PRIMARY KEY,
    started_ns  INTEGER NOT NULL,
    document    TEXT NOT NULL
);

-- Content that work in progress holds, so that a sweep leaves it alone. A lease ends with the
-- process that took it (pid and its start time) or when it is given back.
CREATE TABLE leases (
    id          TEXT NOT NULL,
    holder      TEXT NOT NULL,
    pid         INTEGER NOT NULL,
    pid_start   INTEGER NOT NULL,
    PRIMARY KEY (id, holder)
);

-- The one ordered stream of what happened.
CREATE TABLE events (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns     INTEGER NOT NULL,
    type        TEXT NOT NULL,
    action      TEXT NOT NULL,
    actor       TEXT NOT NULL,
    attributes  TEXT NOT NULL
);
