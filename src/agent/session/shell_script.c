#include "shell_script.h"

#include <limits.h>

int shell_quote(struct buf *out, struct str text)
{
    if (buf_append(out, "'", 1) < 0)
        return -1;
    while (text.n > 0) {
        const char *quote = memchr(text.p, '\'', text.n);
        size_t run = quote ? (size_t)(quote - text.p) : text.n;
        if (buf_append(out, text.p, run) < 0)
            return -1;
        text.p += run;
        text.n -= run;
        if (quote) {
            if (buf_append(out, "'\\''", 4) < 0)
                return -1;
            text.p++;
            text.n--;
        }
    }
    return buf_append(out, "'", 1);
}

static bool is_safe(struct str text)
{
    static const char safe[] = "@%+=:,./-";

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == '\0' || !strchr(safe, c)))
            return false;
    }
    return text.n > 0;
}

int shell_quote_argument(struct buf *out, struct str text)
{
    static const char special[] = "\\'\n\r\t", letters[] = "\\'nrt";

    if (is_safe(text))
        return buf_append_str(out, text);
    if (buf_append(out, "$'", 2) < 0)
        return -1;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? strchr(special, text.p[i]) : NULL;
        char escape[2] = { '\\', at ? letters[at - special] : 0 };
        if (at ? buf_append(out, escape, 2) < 0 : buf_append(out, &text.p[i], 1) < 0)
            return -1;
    }
    return buf_append(out, "'", 1);
}

bool shell_script_restores(const struct shell_script *script)
{
    return !script->background && (script->cwd || (script->env && script->env->count > 0));
}

static int put_run(struct buf *out, const struct shell_script *script)
{
    if (buf_append_str(out, STR("\\builtin eval ")) < 0 || shell_quote(out, script->command) < 0)
        return -1;
    return buf_printf(out, " >%s 2>%s;\\builtin echo \"%s$?\"\n", script->out_path, script->err_path,
                      script->marker);
}

/* A read-only variable keeps its value: trying to change it would end a shell that runs with errexit. */
static int put_if_writable(struct buf *out, struct str name)
{
    return buf_printf(out, "if [[ ${%.*s[@]+${%.*s@a}} != *r* ]];then \\builtin unset -v %.*s\n", (int)name.n,
                      name.p, (int)name.n, name.p, (int)name.n, name.p);
}

/* Unset first, so that arrays and integers become plain strings. */
static int put_exports(struct buf *out, const struct env *env)
{
    for (size_t i = 0; env && i < env->count; i++) {
        struct str name = env_item_name(env->items[i]);
        const char *value = env->items[i] + name.n + 1;
        if (put_if_writable(out, name) < 0 || buf_printf(out, "\\builtin export %.*s=", (int)name.n, name.p) < 0 ||
            shell_quote(out, str_from(value)) < 0 || buf_append_str(out, STR("\nfi||:\n")) < 0)
            return -1;
    }
    return 0;
}

/*
 * Moves the literal text so far into the outer eval's argument. What is appended to `out` until the next call
 * stands between the quotes and is expanded by bash before anything of it runs.
 */
static int flush_literal(struct buf *out, struct buf *literal)
{
    int rc = shell_quote(out, buf_str(literal));

    buf_clear(literal);
    return rc;
}

static int put_restore_env(struct buf *out, struct buf *literal, const struct env *env)
{
    for (size_t i = 0; env && i < env->count; i++) {
        struct str name = env_item_name(env->items[i]);
        int n = (int)name.n;
        if (put_if_writable(literal, name) < 0 || flush_literal(out, literal) < 0)
            return -1;
        /* Nothing where it is not set, also under `set -u`. */
        if (buf_printf(out, "\"${%.*s[@]+${%.*s[@]@A}}\"", n, name.p, n, name.p) < 0 ||
            buf_append_str(literal, STR("\nfi||:\n")) < 0)
            return -1;
    }
    return 0;
}

/* DIRSTACK is where bash knows to be, by the name it came there; PWD says the same until somebody assigns to it. */
static int put_restore_cwd(struct buf *out, struct buf *literal)
{
    if (buf_append_str(literal, STR("\\builtin cd -- ''")) < 0 || flush_literal(out, literal) < 0 ||
        buf_append_str(out, STR("\"${DIRSTACK+${DIRSTACK@Q}}\"")) < 0)
        return -1;
    return buf_append_str(literal, STR("||:\n"));
}

/* CDPATH must not lead a relative directory elsewhere. */
static const char *cd_prefix(const char *cwd)
{
    return cwd[0] == '/' || strcmp(cwd, ".") == 0 || strcmp(cwd, "..") == 0 || strncmp(cwd, "./", 2) == 0 ||
                   strncmp(cwd, "../", 3) == 0
               ? ""
               : "./";
}

static int put_cd(struct buf *out, const char *cwd)
{
    struct buf path;
    int rc = -1;

    buf_init(&path, SIZE_MAX / 4);
    if (buf_printf(&path, "%s%s", cd_prefix(cwd), cwd) == 0 &&
        buf_append_str(out, STR("if \\builtin cd -- ")) == 0 && shell_quote(out, buf_str(&path)) == 0)
        rc = buf_append_str(out, STR(";then\n"));
    buf_free(&path);
    return rc;
}

static int put_restoring(struct buf *out, struct buf *literal, const struct shell_script *script)
{
    if (buf_append_str(out, STR("\\builtin eval ")) < 0)
        return -1;
    if (script->cwd && put_cd(literal, script->cwd) < 0)
        return -1;
    if (put_exports(literal, script->env) < 0 || put_run(literal, script) < 0 ||
        put_restore_env(out, literal, script->env) < 0)
        return -1;
    if (script->cwd && put_restore_cwd(out, literal) < 0)
        return -1;
    if (buf_printf(literal, "\\builtin echo %s.\n", script->marker) < 0)
        return -1;
    if (script->cwd && buf_printf(literal, "else \\builtin echo '%s!'\nfi", script->marker) < 0)
        return -1;
    return flush_literal(out, literal) < 0 ? -1 : buf_append(out, "\n", 1);
}

/* What the background shell runs, when it goes where it shall go. */
static int put_background_run(struct buf *out, const struct shell_script *script)
{
    if (buf_append_str(out, STR("\\builtin eval ")) < 0 || shell_quote(out, script->command) < 0)
        return -1;
    return buf_printf(out, " >%s 2>%s", script->out_path, script->err_path);
}

static int put_background_failure(struct buf *out, const struct shell_script *script)
{
    struct buf text;
    int rc = -1;

    buf_init(&text, SIZE_MAX / 4);
    if (buf_append_str(&text, STR("Failed to change directory to ")) == 0 &&
        shell_quote(&text, str_from(script->cwd)) == 0 &&
        buf_append_str(out, STR("else \\builtin printf '%s\\n' ")) == 0 && shell_quote(out, buf_str(&text)) == 0)
        rc = buf_printf(out, " 2>%s >&2;\\builtin exit 1;fi", script->err_path);
    buf_free(&text);
    return rc;
}

/*
 * A group: for a single builtin bash would not ignore SIGINT and SIGQUIT, as it does for all other `&`. Two lines:
 * bash runs the first before it reads the second.
 */
static int put_background(struct buf *out, const struct shell_script *script)
{
    if (buf_append_str(out, STR("({ ")) < 0)
        return -1;
    if (script->mark > 0 &&
        buf_printf(out, "\\builtin ulimit -Sx %llu||((1));", (unsigned long long)script->mark) < 0)
        return -1;
    if ((script->cwd && put_cd(out, script->cwd) < 0) || put_exports(out, script->env) < 0 ||
        put_background_run(out, script) < 0)
        return -1;
    if (script->cwd && (buf_append_str(out, STR("\n")) < 0 || put_background_failure(out, script) < 0))
        return -1;
    if (buf_printf(out, ";}%s &\\builtin echo \"%s&$!\")", script->in_path ? " <&0" : "", script->marker) < 0 ||
        (script->in_path && buf_printf(out, " <%s", script->in_path) < 0))
        return -1;
    return buf_printf(out, "\n\\builtin echo \"%s$?\"\n", script->marker);
}

int shell_script_write(struct buf *out, const struct shell_script *script)
{
    struct buf literal;
    int rc;

    if (script->background)
        return put_background(out, script);
    if (!shell_script_restores(script))
        return put_run(out, script);
    buf_init(&literal, out->max);
    rc = put_restoring(out, &literal, script);
    buf_free(&literal);
    return rc;
}

int shell_script_write_start(struct buf *out, int fd, const char *directory, const char *marker)
{
    if (buf_printf(out, "exec %d<&-;\\builtin cd -- ", fd) < 0 || shell_quote(out, str_from(directory)) < 0)
        return -1;
    return buf_printf(
        out, "||\\builtin cd /;\\builtin unset -v OLDPWD;\\builtin export OLDPWD;\\builtin echo %s0\n", marker);
}

enum shell_report shell_report_parse(struct str line, const char *marker, int *ret)
{
    size_t marker_len = strlen(marker);
    uint64_t number;

    for (size_t at = line.n; at-- > 0;) {
        struct str rest;
        bool started;
        if (line.n - at < marker_len || memcmp(line.p + at, marker, marker_len) != 0)
            continue;
        rest = (struct str){ line.p + at + marker_len, line.n - at - marker_len };
        if (str_is(rest, "."))
            return SHELL_REPORT_RESTORED;
        if (str_is(rest, "!"))
            return SHELL_REPORT_NO_DIRECTORY;
        started = str_has_prefix(rest, STR("&"));
        if (started)
            rest = (struct str){ rest.p + 1, rest.n - 1 };
        if (str_to_u64(rest, &number) < 0 || number > (started ? INT_MAX : 255))
            return SHELL_REPORT_NONE;
        *ret = (int)number;
        return started ? SHELL_REPORT_STARTED : SHELL_REPORT_STATUS;
    }
    return SHELL_REPORT_NONE;
}
