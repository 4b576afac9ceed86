#include "simple_command.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define SHLVL_MAX 900 /* bash warns at 1000 */

static bool is_plain_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_./:,@%+-=", c));
}

/* Everything that `compgen -b -k` of bash lists, but for what is not made of plain characters. */
static bool is_word_of_bash(const char *word)
{
    static const char *const words[] = {
        ".",        ":",       "alias",   "bg",       "bind",    "break",    "builtin", "caller",  "case",
        "cd",       "command", "compgen", "complete", "compopt", "continue", "coproc",  "declare", "dirs",
        "disown",   "do",      "done",    "echo",     "elif",    "else",     "enable",  "esac",    "eval",
        "exec",     "exit",    "export",  "false",    "fc",      "fg",       "fi",      "for",     "function",
        "getopts",  "hash",    "help",    "history",  "if",      "in",       "jobs",    "kill",    "let",
        "local",    "logout",  "mapfile", "popd",     "printf",  "pushd",    "pwd",     "read",    "readarray",
        "readonly", "return",  "select",  "set",      "shift",   "shopt",    "source",  "suspend", "test",
        "then",     "time",    "times",   "trap",     "true",    "type",     "typeset", "ulimit",  "umask",
        "unalias",  "unset",   "until",   "wait",     "while",
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return word[0] == '%'; /* a job */
}

/* -1 if there is a character that may mean something; else how many words. */
static ssize_t count_words(struct str text)
{
    ssize_t words = 0;
    bool inside = false;

    for (size_t i = 0; i < text.n; i++) {
        bool space = text.p[i] == ' ' || text.p[i] == '\t';
        if (!space && !is_plain_char(text.p[i]))
            return -1;
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

char **simple_command_split(struct arena *arena, struct str text)
{
    ssize_t count = count_words(text);
    char **words, *at;
    size_t n = 0;

    if (count <= 0)
        return NULL;
    words = arena_alloc(arena, ((size_t)count + 1) * sizeof(*words));
    at = arena_strdup(arena, text);
    if (!words || !at)
        return NULL;
    for (;;) {
        at += strspn(at, " \t");
        if (!*at)
            break;
        words[n++] = at;
        at += strcspn(at, " \t");
        if (!*at)
            break;
        *at++ = '\0';
    }
    words[n] = NULL;
    return strchr(words[0], '=') || is_word_of_bash(words[0]) ? NULL : words;
}

static const char *value_of(char *const *envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

const char *simple_command_find(struct arena *arena, const char *name, char *const *envp)
{
    const char *list = value_of(envp, "PATH");

    if (strchr(name, '/'))
        return name; /* execve(2) finds out */
    while (list && *list == '/') {
        size_t n = strcspn(list, ":");
        char *path = arena_printf(arena, "%.*s/%s", (int)n, list, name);
        if (!path || access(path, X_OK) == 0)
            return path;
        list += n;
        if (*list == ':')
            list++;
    }
    return NULL;
}

static bool is_plain_locale(const char *value)
{
    return value[0] == '\0' || strcmp(value, "C") == 0 || strcmp(value, "POSIX") == 0 ||
           strcmp(value, "C.UTF-8") == 0 || strcmp(value, "C.utf8") == 0;
}

bool simple_command_env_is_plain(char *const *envp)
{
    static const char *const names[] = { "BASH_ENV=",        "BASH_FUNC_",     "SHELLOPTS=",   "BASHOPTS=",
                                         "POSIXLY_CORRECT=", "BASH_XTRACEFD=", "BASH_COMPAT=", "EXECIGNORE=" };

    for (; *envp; envp++) {
        const char *item = *envp;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            if (strncmp(item, names[i], strlen(names[i])) == 0)
                return false;
        /* bash warns about a locale that is not installed. */
        if ((strncmp(item, "LC_", 3) == 0 || strncmp(item, "LANG=", 5) == 0) &&
            !is_plain_locale(strchr(item, '=') + 1))
            return false;
    }
    return true;
}

/* As bash: what the environment says if that is here, else the kernel's name for here. */
static const char *working_directory(struct arena *arena, char *const *envp, const char *directory)
{
    const char *said = value_of(envp, "PWD");
    char real[PATH_MAX];
    struct stat a, b;

    if (said && said[0] == '/' && stat(said, &a) == 0 && stat(directory, &b) == 0 && a.st_dev == b.st_dev &&
        a.st_ino == b.st_ino)
        return said;
    return realpath(directory, real) ? arena_strdup(arena, str_from(real)) : directory;
}

static unsigned shell_level(char *const *envp)
{
    const char *text = value_of(envp, "SHLVL");
    uint64_t level = 0;

    return text && str_to_u64(str_from(text), &level) == 0 && level <= SHLVL_MAX ? (unsigned)level : 0;
}

static bool is_replaced(const char *item)
{
    const char *old;
    struct stat st;

    if (strncmp(item, "PWD=", 4) == 0 || strncmp(item, "SHLVL=", 6) == 0 || strncmp(item, "_=", 2) == 0)
        return true;
    if (strncmp(item, "OLDPWD=", 7) != 0)
        return false;
    old = item + 7;
    return stat(old, &st) < 0 || !S_ISDIR(st.st_mode);
}

char **simple_command_env(struct arena *arena, char *const *envp, const char *directory, const char *program)
{
    size_t count = 0, n = 0;
    char **env;

    while (envp[count])
        count++;
    env = arena_alloc(arena, (count + 4) * sizeof(*env));
    if (!env)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!is_replaced(envp[i]))
            env[n++] = envp[i];
    env[n] = arena_printf(arena, "PWD=%s", working_directory(arena, envp, directory));
    env[n + 1] = arena_printf(arena, "SHLVL=%u", shell_level(envp));
    env[n + 2] = arena_printf(arena, "_=%s", program);
    env[n + 3] = NULL;
    return env[n] && env[n + 1] && env[n + 2] ? env : NULL;
}
