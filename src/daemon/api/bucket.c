#include "daemon/api/bucket.h"

#include "bucket_script.h"
#include "daemon/agent_exec.h"

#include <strings.h>

#define KEYS_MAX     4096
#define OPTIONS_MAX  8192
#define OUTPUT_MAX   4096
#define ENDPOINT_MAX 2048
#define BUCKET_MAX   63
/* Of the whole script: another one may be under way, and s3fs asks a server that does not answer for 20 s. */
#define SCRIPT_MS 75000

/* The exit codes of bucket.sh, and the SDK's names for them. */
static const struct {
    int code;
    const char *reason;
} ends[] = { { 3, "INVALID_MOUNT_CONFIG" }, { 4, "MISSING_CREDENTIALS" }, { 5, "S3FS_MOUNT_ERROR" } };

struct bucket {
    enum berm_err code; /* MOUNT_ERROR or UNMOUNT_ERROR */
    const char *path, *source, *options;
    struct buf keys; /* the line for s3fs */
    const char *keys_from;
    struct agent_exec *run;
    struct buf said; /* its stderr */
};

void bucket_refuse(struct request *request, enum berm_err code, const char *reason, const char *message)
{
    struct json_writer *w = request_json(request);
    struct berm_error err;

    if (!w)
        return;
    berm_fail(&err, code, 0, "%s failed: %s", code == BERM_E_MOUNT_ERROR ? "mount" : "unmount", message);
    error_json(w, &err, reason, NULL);
    request_respond_json(request, berm_err_status(code), w);
}

/* --- the run --- */

static void on_output(void *data, int stream, struct str bytes)
{
    struct bucket *bucket = ((struct request *)data)->state;

    if (stream == AGENT_EXEC_STDERR)
        buf_append(&bucket->said, bytes.p, MIN(bytes.n, bucket->said.max - bucket->said.len));
}

static const char *reason_of(const struct bucket *bucket, int exit_code)
{
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        if (ends[i].code == exit_code && (exit_code != 5 || bucket->code == BERM_E_MOUNT_ERROR))
            return ends[i].reason;
    return bucket->code == BERM_E_MOUNT_ERROR ? "BUCKET_MOUNT_ERROR" : "BUCKET_UNMOUNT_ERROR";
}

/* What the script says, in one line. */
static const char *words_of(struct request *request, int exit_code)
{
    struct bucket *bucket = request->state;
    struct str said = buf_str(&bucket->said);
    char *words;

    if (exit_code == 124 || exit_code > 128)
        return "it did not come to an end in time";
    words = arena_strdup(&request->arena, str_trim(said));
    for (char *p = words; p && *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    return words && words[0] ? words : "the sandbox gave no reason";
}

static void on_end(void *data, int exit_code, const struct berm_error *err)
{
    struct request *request = data;
    struct bucket *bucket = request->state;
    struct berm_error death;
    struct json_writer *w;

    bucket->run = NULL;
    if (err->code != BERM_OK) {
        if (agent_link_obituary(request->link, &death))
            request_fail(request, &death);
        else
            bucket_refuse(request, bucket->code, reason_of(bucket, -1), err->message);
        return;
    }
    if (exit_code != 0) {
        const char *words = words_of(request, exit_code);

        bucket_refuse(request, bucket->code, reason_of(bucket, exit_code), words);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    json_object_begin(w);
    json_pair_bool(w, "ok", true);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* As the kernel spells it in /proc/mounts. NULL without memory. */
static const char *spell(struct request *request, const char *path)
{
    size_t n = strlen(path);
    char *out = arena_alloc(&request->arena, 4 * n + 1), *at = out;

    for (size_t i = 0; out && i < n; i++) {
        unsigned char c = (unsigned char)path[i];

        if (!strchr(" \t\n\\", c)) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '\\';
        *at++ = (char)('0' + (c >> 6));
        *at++ = (char)('0' + ((c >> 3) & 7));
        *at++ = (char)('0' + (c & 7));
    }
    if (out)
        *at = '\0';
    return out;
}

/* The command as JSON, appended to `out`. */
static int write_command(struct request *request, struct buf *out)
{
    const struct bucket *bucket = request->state;
    const char *spelled = spell(request, bucket->path);
    struct json_writer w;

    json_writer_init(&w, out);
    json_array_begin(&w);
    json_cstring(&w, "sh");
    json_cstring(&w, "-c");
    json_cstring(&w, (const char *)bucket_script);
    json_cstring(&w, "sh");
    json_cstring(&w, bucket->code == BERM_E_MOUNT_ERROR ? "mount" : "unmount");
    json_cstring(&w, bucket->path);
    json_cstring(&w, spelled);
    if (bucket->code == BERM_E_MOUNT_ERROR) {
        json_cstring(&w, bucket->source);
        json_cstring(&w, bucket->options);
        json_cstring(&w, bucket->keys_from);
    }
    json_array_end(&w);
    return spelled && json_writer_finish(&w) == 0 && buf_append(out, "", 1) == 0 ? 0 : -1;
}

/* It goes on when the client leaves: half of a mount is worse than one that nobody waits for. */
static void run(struct request *request)
{
    static const struct agent_exec_callbacks callbacks = { .on_output = on_output, .on_end = on_end };
    struct bucket *bucket = request->state;
    struct buf argv;
    struct berm_error err;

    buf_init(&argv, JSON_BODY_MAX);
    if (write_command(request, &argv) < 0) {
        request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "the request is too large");
    } else {
        const struct agent_exec_spec spec = {
            .argv = buf_head(&argv), .cwd = "/", .with_stdin = true, .keep = true, .timeout_ms = SCRIPT_MS
        };

        bucket->run = agent_exec_start(request->link, &spec, &callbacks, request, &err);
        if (!bucket->run) {
            request_fail(request, &err);
        } else {
            agent_exec_write(bucket->run, buf_str(&bucket->keys));
            agent_exec_end_input(bucket->run);
        }
    }
    buf_free(&argv);
}

static void cleanup(struct request *request)
{
    struct bucket *bucket = request->state;

    agent_exec_cancel(bucket->run);
    bucket->run = NULL;
    if (bucket->keys.len > 0)
        explicit_bzero(buf_head(&bucket->keys), bucket->keys.len);
    buf_free(&bucket->keys);
    buf_free(&bucket->said);
}

static struct bucket *new_bucket(struct request *request, enum berm_err code, const char *path)
{
    struct bucket *bucket = arena_calloc(&request->arena, 1, sizeof(*bucket));

    if (!bucket) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return NULL;
    }
    bucket->code = code;
    bucket->path = path;
    buf_init(&bucket->keys, KEYS_MAX);
    buf_init(&bucket->said, OUTPUT_MAX);
    request->state = bucket;
    request->cleanup = cleanup;
    return bucket;
}

/* --- what s3fs is told --- */

/* Printable, without what separates options, names or users in a URL. */
static bool is_plain(struct str text, const char *without)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c < 0x20 || c == 0x7f || strchr(without, c))
            return false;
    }
    return true;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_bucket_name(struct str name)
{
    if (name.n < 1 || name.n > BUCKET_MAX || !is_alnum(name.p[0]) || !is_alnum(name.p[name.n - 1]))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!is_alnum(name.p[i]) && name.p[i] != '.' && name.p[i] != '-')
            return false;
    return true;
}

/* The host of an http or https URL, without its port. n == 0: it is none. */
static struct str host_of(struct str url)
{
    static const struct str schemes[] = { { "http://", 7 }, { "https://", 8 } };
    struct str host = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (url.n > schemes[i].n && !strncasecmp(url.p, schemes[i].p, schemes[i].n))
            host = (struct str){ url.p + schemes[i].n, url.n - schemes[i].n };
    if (url.n > ENDPOINT_MAX || !is_plain(url, " ,@\"'\\<>?#"))
        return (struct str){ 0 };
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] == '/' || host.p[i] == ':')
            host.n = i;
    return host;
}

static bool ends_with(struct str text, const char *end)
{
    size_t n = strlen(end);

    return text.n >= n && !strncasecmp(text.p + text.n - n, end, n);
}

/* What servers of a kind need. The bridge knows them by their host. */
static const char *options_of_provider(struct str host)
{
    if (ends_with(host, ".r2.cloudflarestorage.com"))
        return "nomixupload,";
    if (ends_with(host, ".amazonaws.com") || str_eq_nocase(host, STR("storage.googleapis.com")))
        return "";
    return "use_path_request_style,";
}

static bool is_public(const struct bucket_mount *mount)
{
    const struct json *list = mount->s3fs_options;

    for (size_t i = 0; list && i < list->array.count; i++)
        if (str_is(list->array.items[i].string, "public_bucket=1"))
            return true;
    return false;
}

/* The provider's, the client's, then ours, of which the last one counts. NULL: too long, or no text for s3fs. */
static const char *write_options(struct request *request, const struct bucket_mount *mount)
{
    const struct json *list = mount->s3fs_options;
    struct str url = mount->endpoint;
    const char *ret = NULL;
    struct buf out;
    int rc;

    while (url.n > 0 && url.p[url.n - 1] == '/')
        url.n--;
    buf_init(&out, OPTIONS_MAX);
    rc = buf_printf(&out, "%s", options_of_provider(host_of(mount->endpoint)));
    for (size_t i = 0; rc == 0 && list && i < list->array.count; i++) {
        struct str option = list->array.items[i].string;

        if (option.n == 0)
            continue;
        rc = is_plain(option, "") && buf_append_str(&out, option) == 0 ? buf_append(&out, ",", 1) : -1;
    }
    if (rc == 0 && !is_public(mount))
        rc = buf_printf(&out, "passwd_file=/dev/stdin,");
    if (rc == 0)
        rc = buf_printf(&out, "url=%.*s%s", (int)url.n, url.p, mount->read_only ? ",ro" : "");
    if (rc == 0)
        ret = arena_strdup(&request->arena, buf_str(&out));
    buf_free(&out);
    return ret;
}

/* What the bridge finds wrong only when it mounts. NULL: nothing. */
static const char *wrong_with(const struct bucket_mount *mount)
{
    if (!is_bucket_name(mount->bucket))
        return "Invalid bucket name: lower-case letters, digits, dots and hyphens, at most 63 of them";
    if (host_of(mount->endpoint).n == 0)
        return "Invalid endpoint: an http or https URL is needed";
    if (mount->prefix.n > 0 && (mount->prefix.p[0] != '/' || !is_plain(mount->prefix, ",")))
        return "Prefix must start with \"/\" and hold no comma";
    if (!is_plain(mount->key_id, " :") || !is_plain(mount->secret, " :"))
        return "The credentials hold a character that no key has";
    return NULL;
}

void bucket_mount(struct request *request, const struct bucket_mount *mount)
{
    const char *wrong = wrong_with(mount), *options = wrong ? NULL : write_options(request, mount);
    struct bucket *bucket;

    if (wrong || !options) {
        bucket_refuse(request, BERM_E_MOUNT_ERROR, "INVALID_MOUNT_CONFIG",
                      wrong ? wrong : "s3fsOptions are too long or hold a control character");
        return;
    }
    bucket = new_bucket(request, BERM_E_MOUNT_ERROR, mount->path);
    if (!bucket)
        return;
    bucket->options = options;
    bucket->source =
        arena_printf(&request->arena, "%.*s%s%.*s", (int)mount->bucket.n, mount->bucket.p,
                     mount->prefix.n ? ":" : "", (int)mount->prefix.n, mount->prefix.n ? mount->prefix.p : "");
    bucket->keys_from = is_public(mount) ? "none" : mount->key_id.n ? "given" : "inside";
    if (!bucket->source ||
        (mount->key_id.n && buf_printf(&bucket->keys, "%.*s:%.*s\n", (int)mount->key_id.n, mount->key_id.p,
                                       (int)mount->secret.n, mount->secret.p) < 0))
        request_fail_with(request, BERM_E_PAYLOAD_TOO_LARGE, "the request is too large");
    else
        request_need_sandbox(request, run);
}

/* A sandbox that does not run has no mounts, and is not started for this. */
static void find_and_unmount(struct request *request)
{
    struct bucket *bucket = request->state;
    struct sandbox *sandbox = request_find_sandbox(request);

    if (sandbox && (sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_CREATING))
        request_need_sandbox(request, run);
    else
        bucket_refuse(request, BERM_E_UNMOUNT_ERROR, "INVALID_MOUNT_CONFIG",
                      arena_printf(&request->arena, "No active mount found at path: %s", bucket->path));
}

void bucket_unmount(struct request *request, const char *path)
{
    if (new_bucket(request, BERM_E_UNMOUNT_ERROR, path))
        request_need_adoption(request, find_and_unmount);
}
