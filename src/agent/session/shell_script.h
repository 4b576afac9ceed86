/*
 * shell_script.h - the text that makes bash run one command of a session and report its status. Pure functions.
 *
 * bash reads its script byte by byte from a pipe (one system call each), so the text is short. It runs the command
 * as `\builtin eval '<command>' >OUT 2>ERR` and writes "<marker><status>" to the control pipe, which is the shell's
 * own standard output. Because of eval an unterminated quote or a syntax error stays inside (status 2); because of
 * the redirections of eval `exec >file` is undone when it returns; because of `\builtin` neither a function nor an
 * alias of the user's comes between, unless it is called that. Nothing is stored in the shell: neither variable nor
 * function nor trap.
 *
 * A directory or variables for one command are put back afterwards from text that an outer eval has expanded
 * before:
 * "${DIRSTACK@Q}" and "${NAME[@]@A}" become the literal commands that restore what was there, arrays and attributes
 * too.
 *
 * A background command is run by a subshell of a subshell: the inner one outlives the outer one and becomes the
 * agent's own child, so that its end is told by wait(2), and the user's shell gets neither a job nor another `$!`.
 * The outer one reports the inner one's number. The inner one waits in the open of its output's FIFO until the
 * agent opens the other end; so it cannot be over before the agent has taken it for its child.
 *
 * Reports: "<marker>&<pid>" a background command has been started; "<marker><n>" the command ended with n;
 * "<marker>." everything is restored (only if a directory or variables were given); "<marker>!" the directory could
 * not be entered and nothing ran.
 */
#pragma once

#include "agent/child/env.h"
#include "base/buf.h"

struct shell_script {
    struct str command;
    const char *out_path;
    const char *err_path;
    const char *marker;    /* lower-case letters */
    const char *cwd;       /* for this command only; NULL: where the shell is */
    const struct env *env; /* for this command only; NULL or empty: none. Names are identifiers */
    bool background;       /* two reports come: started, status */
    const char *in_path;   /* of a background command: its stdin; NULL: none */
    uint64_t mark;         /* of a background command: process_mark.h; 0: none */
};

/* Appends the text, ended by a newline. 0, or -1 as buf_append(). */
int shell_script_write(struct buf *out, const struct shell_script *script);

/* True if running the script takes two reports, status and restored. */
bool shell_script_restores(const struct shell_script *script);

/*
 * What a new shell runs first: closes `fd`, enters `directory` (absolute) without a trace in OLDPWD, and reports
 * "<marker>0".
 */
int shell_script_write_start(struct buf *out, int fd, const char *directory, const char *marker);

enum shell_report {
    SHELL_REPORT_NONE,
    SHELL_REPORT_STATUS,
    SHELL_REPORT_RESTORED,
    SHELL_REPORT_NO_DIRECTORY,
    SHELL_REPORT_STARTED
};

/*
 * What a line of the control pipe (without its newline) says. A DEBUG trap of the user's may have written before
 * the marker, so the last one in the line counts; lines without one are no reports.
 */
/* *ret is the status or the pid. */
enum shell_report shell_report_parse(struct str line, const char *marker, int *ret);

/* 'text' with each ' inside as '\''. */
int shell_quote(struct buf *out, struct str text);
/* The bridge API's quoting of an argument: bare if it is made of safe characters only, else $'...'. */
int shell_quote_argument(struct buf *out, struct str text);
