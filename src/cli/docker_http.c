/* docker_http.c - one call at a time to the Docker socket, over libcurl. */
#include "cli/docker.h"

#include <curl/curl.h>
#include <stdarg.h>

struct transfer_state {
    struct docker_call *call;
    CURL *easy;
    bool failed; /* the sink did not want more, or the answer is too large */
};

static size_t on_bytes(char *p, size_t size, size_t n, void *data)
{
    struct transfer_state *state = data;
    struct docker_call *call = state->call;
    long status = 0;
    int rc;

    (void)size;
    curl_easy_getinfo(state->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->sink && status / 100 == 2)
        rc = call->sink(call->sink_data, (struct str){ p, n });
    else
        rc = buf_append(&call->answer, p, n);
    if (rc == 0)
        return n;
    state->failed = true;
    return 0;
}

static size_t on_wanted(char *p, size_t size, size_t n, void *data)
{
    const struct docker_call *call = data;
    ssize_t got = RETRY_EINTR(read(call->upload_fd, p, size * n));

    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static struct curl_slist *set_body(CURL *easy, struct docker_call *call)
{
    struct curl_slist *fields = curl_slist_append(NULL, "Expect:");
    char line[128];

    if (call->content_type) {
        snprintf(line, sizeof(line), "Content-Type: %s", call->content_type);
        fields = curl_slist_append(fields, line);
    }
    if (call->upload_fd >= 0) {
        fields = curl_slist_append(fields, "Transfer-Encoding: chunked");
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_wanted);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
    } else if (call->body.n || !strcmp(call->method, "POST")) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.n ? call->body.p : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fields);
    return fields;
}

int docker_ask(struct docker_cli *docker, struct docker_call *call)
{
    CURL *easy = curl_easy_init();
    struct transfer_state state = { .call = call, .easy = easy };
    struct curl_slist *fields;
    char url[4096];
    CURLcode rc;

    if (!easy) {
        docker_fail(docker, "out of memory");
        return -1;
    }
    snprintf(url, sizeof(url), "http://localhost%s", call->path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, docker->socket);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &state);
    fields = set_body(easy, call);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    rc = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &call->status);
    curl_slist_free_all(fields);
    curl_easy_cleanup(easy);
    if (rc == CURLE_OK || state.failed)
        return state.failed ? -1 : 0;
    if (rc == CURLE_COULDNT_CONNECT)
        docker_fail(docker,
                    "Cannot connect to berm at unix://%s: is bermd running with --docker-socket, and may you use "
                    "the socket?",
                    docker->socket);
    else
        docker_fail(docker, "%s %s: %s", call->method, call->path, curl_easy_strerror(rc));
    return -1;
}

int docker_do(struct docker_cli *docker, struct docker_call *call)
{
    const struct json *answer = NULL;
    const char *message = NULL;

    if (docker_ask(docker, call) < 0)
        return -1;
    if (call->status / 100 == 2 || call->status == 304)
        return 0;
    if (json_parse(&docker->cli->arena, buf_str(&call->answer), 16, &answer, NULL) == 0)
        json_field_cstring(answer, "message", &message, NULL);
    docker_fail(docker, "Error response from daemon: %s", message ? message : "no reason was given");
    return -1;
}

void docker_call_done(struct docker_call *call)
{
    buf_free(&call->answer);
}

const struct json *docker_json(struct docker_cli *docker, const struct docker_call *call)
{
    const struct json *answer = NULL;
    struct berm_error err;

    if (json_parse(&docker->cli->arena, buf_str(&call->answer), 64, &answer, &err) == 0)
        return answer;
    docker_fail(docker, "the daemon's answer is no JSON: %s", err.message);
    return NULL;
}

const char *docker_encode(struct docker_cli *docker, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:";
    char *out = arena_alloc(&docker->cli->arena, 3 * strlen(text) + 1), *at = out;

    if (!out)
        return "";
    for (; *text; text++) {
        if (strchr(plain, *text))
            *at++ = *text;
        else
            at += snprintf(at, 4, "%%%02X", (unsigned char)*text);
    }
    *at = '\0';
    return out;
}

const char *docker_path(struct docker_cli *docker, const char *format, ...)
{
    char *text = NULL;
    const char *path = "";
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) >= 0)
        path = arena_strdup(&docker->cli->arena, str_from(text));
    va_end(args);
    free(text);
    return path ? path : "";
}
