/*
 * store_schema.h - the tables of <data>/state/berm.db, as the steps that lead from each version to the next, each a
 * transaction. A step that has been released is never changed.
 */
#pragma once

static const char store_pragmas[] = "PRAGMA journal_mode=WAL;"
                                    "PRAGMA synchronous=NORMAL;"
                                    "PRAGMA wal_autocheckpoint=0;"
                                    "PRAGMA temp_store=MEMORY;"
                                    "PRAGMA trusted_schema=OFF;"
                                    "PRAGMA journal_size_limit=4194304;";

/* Few pages are touched per start, as each costs two writes to the log: no second index, no rowids. */
static const char *const store_steps[] = {
    "CREATE TABLE sandboxes("
    "  id TEXT PRIMARY KEY,"
    "  seq INTEGER NOT NULL,"
    "  key INTEGER NOT NULL,"
    "  generation INTEGER NOT NULL,"
    "  state INTEGER NOT NULL,"
    "  image TEXT NOT NULL,"
    "  digest BLOB NOT NULL,"
    "  memory INTEGER NOT NULL,"
    "  disk INTEGER NOT NULL,"
    "  cpu INTEGER NOT NULL,"
    "  pids INTEGER NOT NULL,"
    "  nofile INTEGER NOT NULL,"
    "  env TEXT NOT NULL,"
    "  labels TEXT NOT NULL,"
    "  sleep_after INTEGER NOT NULL,"
    "  keep_alive INTEGER NOT NULL,"
    "  created INTEGER NOT NULL,"
    "  started INTEGER NOT NULL,"
    "  last_used INTEGER NOT NULL,"
    "  end_reason INTEGER NOT NULL,"
    "  exit_status INTEGER NOT NULL,"
    "  event_count INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE events("
    "  sandbox INTEGER NOT NULL,"
    "  slot INTEGER NOT NULL,"
    "  number INTEGER NOT NULL,"
    "  time INTEGER NOT NULL,"
    "  event TEXT NOT NULL,"
    "  detail TEXT NOT NULL,"
    "  PRIMARY KEY(sandbox,slot)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE pool("
    "  key INTEGER PRIMARY KEY,"
    "  digest BLOB NOT NULL"
    ") STRICT;"
    "CREATE TABLE api_keys("
    "  id TEXT PRIMARY KEY,"
    "  hash BLOB NOT NULL,"
    "  label TEXT NOT NULL,"
    "  created INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;",
    "CREATE TABLE documents("
    "  kind TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  json TEXT NOT NULL,"
    "  PRIMARY KEY(kind,name)"
    ") STRICT, WITHOUT ROWID;",
    /* What the edge serves: previews (tunnel 0) and tunnels (1), one of each per port of a sandbox. */
    "CREATE TABLE edge_routes("
    "  sandbox TEXT NOT NULL,"
    "  tunnel INTEGER NOT NULL,"
    "  port INTEGER NOT NULL,"
    "  kind INTEGER NOT NULL,"
    "  secret TEXT NOT NULL,"
    "  id TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  generation INTEGER NOT NULL,"
    "  created INTEGER NOT NULL,"
    "  expires INTEGER NOT NULL,"
    "  PRIMARY KEY(sandbox,tunnel,port)"
    ") STRICT, WITHOUT ROWID;",
    /* The network. Sandboxes of before had none. */
    "ALTER TABLE sandboxes ADD COLUMN network INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sandboxes ADD COLUMN egress TEXT NOT NULL DEFAULT '';",
    "ALTER TABLE events ADD COLUMN reason TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE events ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;",
    /* Idempotency keys; status 0 is under way. */
    "CREATE TABLE onces("
    "  sandbox TEXT NOT NULL,"
    "  key TEXT NOT NULL,"
    "  hash BLOB NOT NULL,"
    "  created INTEGER NOT NULL,"
    "  status INTEGER NOT NULL DEFAULT 0,"
    "  type TEXT NOT NULL DEFAULT '',"
    "  generation INTEGER NOT NULL DEFAULT 0,"
    "  kept INTEGER NOT NULL DEFAULT 0,"
    "  body BLOB NOT NULL DEFAULT x'',"
    "  PRIMARY KEY(sandbox,key)"
    ") STRICT;"
    "CREATE INDEX onces_created ON onces(created);",
    "ALTER TABLE sandboxes ADD COLUMN name TEXT NOT NULL DEFAULT '';",
};

#define STORE_SCHEMA_VERSION ((int)ARRAY_SIZE(store_steps))
