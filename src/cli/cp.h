/*
 * cp.h - copying between this machine and a sandbox.
 *
 * Theory of operation: small files below /workspace go through the file API; everything else (bigger, elsewhere, of
 * unknown size, directories) through the standard input and output of a command in the sandbox: cat, or tar. The
 * sandbox is not trusted: what it says about a path is one of a few words or refused, nothing that it sends names a
 * path here but members of its tar stream, and those are held below the directory that the user named (see
 * cp_tree.c).
 */
#pragma once

#include "cli/cli.h"

struct cp {
    struct cli *cli;
    struct berm_client *client;
    const char *id;
    const char *remote; /* absolute path in the sandbox */
    const char *local;  /* "-": standard input or output */
    bool recursive, quiet;
    /* Progress; directories are counted by a thread of their own. */
    _Atomic uint64_t bytes;
    _Atomic uint64_t shown_ms; /* when it was last drawn */
};

enum cp_type { CP_MISSING, CP_FILE, CP_DIRECTORY, CP_OTHER };

struct cp_remote_info {
    enum cp_type type;
    bool executable;
};

/* What the path in the sandbox is, links followed. 0, or a status after telling why. */
int cp_probe(struct cp *cp, const char *path, struct cp_remote_info *ret);

/* All return an exit status; failures have been told. */
int cp_file_up(struct cp *cp, const char *remote);
int cp_file_down(struct cp *cp, const char *local, bool executable);
int cp_tree_up(struct cp *cp, const char *remote);
int cp_tree_down(struct cp *cp, const char *local);

/* Runs a small helper command. Its stdout goes to `sink` (NULL: nowhere); failing is told with its stderr. */
int cp_run(struct cp *cp, const char *const *argv, int stdin_fd, berm_sink sink, void *data);

/* Counts, and draws on a terminal. */
void cp_progress(struct cp *cp, size_t n);
void cp_progress_end(struct cp *cp);
