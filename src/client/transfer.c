/* transfer.c - one HTTP exchange, by libcurl. */
#include "internal.h"

#include <poll.h>
#include <stdio.h>

#define CONNECT_TIMEOUT_MS 10000L

void transfer_done(struct transfer *t)
{
    transfer_end(t);
    buf_free(&t->answer);
}

static bool readable_now(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) > 0;
}

/* What is left of the fixed part, then the source. 0 ends the request body. */
static size_t on_read(char *out, size_t size, size_t count, void *data)
{
    struct transfer *t = data;
    size_t n = size * count, left = t->body.n - t->body_sent;
    ssize_t got;

    if (left > 0) {
        n = MIN(n, left);
        memcpy(out, t->body.p + t->body_sent, n);
        t->body_sent += n;
        return n;
    }
    if (!t->source || t->source_ended)
        return 0;
    if (t->source_size >= 0)
        n = (size_t)MIN((int64_t)n, t->source_size - t->source_sent);
    if (n == 0)
        return 0;
    if (t->source_fd >= 0 && !readable_now(t->source_fd)) {
        t->send_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    got = t->source(t->source_data, out, n);
    if (got < 0 || (got == 0 && t->source_size >= 0)) {
        t->failed = true;
        problem_set(t->problem, BERM_PROBLEM_LOCAL, got < 0 ? errno : 0,
                    got < 0 ? "reading the input" : "the input ended before its announced size");
        return CURL_READFUNC_ABORT;
    }
    t->source_ended = got == 0;
    t->source_sent += got;
    return (size_t)got;
}

static bool answered_ok(CURL *easy)
{
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t on_write(char *bytes, size_t size, size_t count, void *data)
{
    struct transfer *t = data;
    size_t n = size * count;

    if (t->finished)
        return n;
    if (t->hold) {
        t->receive_held = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (t->on_body && answered_ok(t->lane->easy)) {
        if (t->on_body(t, (struct str){ bytes, n }) == 0)
            return n;
        t->failed = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (buf_append(&t->answer, bytes, n) == 0)
        return n;
    t->failed = true;
    problem_set(t->problem, BERM_PROBLEM_TRANSPORT, 0, "the daemon's answer is larger than %zu bytes", ANSWER_MAX);
    return CURL_WRITEFUNC_ERROR;
}

/* One "Name: value\r\n". */
static size_t on_header(char *line, size_t size, size_t count, void *data)
{
    struct transfer *t = data;
    struct str all = { line, size * count };
    size_t n = t->want_header.n;

    if (n > 0 && all.n > n && all.p[n] == ':' && str_eq_nocase((struct str){ all.p, n }, t->want_header)) {
        struct str value = { all.p + n + 1, all.n - n - 1 };

        while (value.n > 0 && (value.p[value.n - 1] == '\r' || value.p[value.n - 1] == '\n'))
            value.n--;
        if (str_copy(str_trim(value), t->header, sizeof(t->header)) < 0)
            t->header[0] = '\0';
    }
    return all.n;
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
    _cleanup_free_ char *line = NULL;
    struct curl_slist *longer;

    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return -1;
    }
    longer = curl_slist_append(*list, line);
    if (!longer)
        return -1;
    *list = longer;
    return 0;
}

static struct curl_slist *make_headers(const struct transfer *t)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    const char *auth = t->client->auth ? t->client->auth->data : NULL;
    struct curl_slist *longer;

    if (list && auth) {
        longer = curl_slist_append(list, auth);
        if (!longer)
            goto fail;
    }
    if (!list || (t->accept && add_header(&list, "Accept", t->accept) < 0) ||
        (t->session && add_header(&list, "Session-Id", t->session) < 0) ||
        (t->content_type && add_header(&list, "Content-Type", t->content_type) < 0) ||
        (t->source && t->source_size < 0 && add_header(&list, "Transfer-Encoding", "chunked") < 0))
        goto fail;
    for (const struct curl_slist *field = t->client->fields; field; field = field->next) {
        longer = curl_slist_append(list, field->data);
        if (!longer)
            goto fail;
        list = longer;
    }
    for (const char *const *field = t->fields; field && *field; field++) {
        longer = curl_slist_append(list, *field);
        if (!longer)
            goto fail;
        list = longer;
    }
    return list;
fail:
    curl_slist_free_all(list);
    return NULL;
}

static void set_request_body(CURL *easy, struct transfer *t)
{
    curl_off_t size = (curl_off_t)t->body.n;

    if (t->source)
        size = t->source_size < 0 ? -1 : size + t->source_size;
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, size);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, t);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
}

/*
 * Redirects are not followed, so the key goes to nobody but the host it was given for. Dot segments stay as they
 * are: what a path means is the daemon's to decide.
 */
static void set_options(CURL *easy, struct transfer *t)
{
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->why);
    curl_easy_setopt(easy, CURLOPT_URL, t->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "berm/" BERM_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    if (t->client->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, t->client->ca_file);
    if (t->client->loopback)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (t->connect_only) {
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
        return;
    }
    if (t->content_type)
        set_request_body(easy, t);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t->method);
}

/*
 * A refusal ends the request's body as well. curl stops sending by itself, but not while it is paused: it would
 * wait for stdin although the answer is complete.
 */
static void end_body_of_refused(struct transfer *t)
{
    long status = 0;

    curl_easy_getinfo(t->lane->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 300 || t->source_ended)
        return;
    t->source_ended = true;
    if (t->send_paused)
        curl_easy_pause(t->lane->easy, CURLPAUSE_CONT);
    t->send_paused = false;
}

static int connection_problem(struct transfer *t, CURLcode code, const char *why)
{
    const char *text = why[0] ? why : curl_easy_strerror(code);

    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return problem_set(t->problem, BERM_PROBLEM_CONNECT, 0, "cannot reach %s: %s", t->client->url, text);
    case CURLE_OUT_OF_MEMORY:
        return problem_memory(t->problem);
    default:
        return problem_set(t->problem, BERM_PROBLEM_TRANSPORT, 0, "the connection to %s broke: %s", t->client->url,
                           text);
    }
}

/* {"error": text, "code": code}, {"error": {"message": text}}, or a line of plain text. */
int transfer_api_problem(struct transfer *t)
{
    struct arena arena;
    const struct json *answer = NULL;
    const char *text = NULL, *code = NULL;
    struct str plain = buf_str(&t->answer);

    arena_init(&arena, ARENA_MAX);
    if (json_parse(&arena, plain, JSON_MAX_DEPTH, &answer, NULL) == 0) {
        if (json_field_cstring(answer, "error", &text, NULL) < 0) /* as JSON-RPC has it */
            json_field_cstring(json_get(answer, "error"), "message", &text, NULL);
        json_field_cstring(answer, "code", &code, NULL);
    }
    if (text)
        problem_set(t->problem, BERM_PROBLEM_API, 0, "%s", text);
    else if (plain.n > 0 && plain.n < 256)
        problem_set(t->problem, BERM_PROBLEM_API, 0, "%s answered %ld: %.*s", t->client->url, t->status,
                    (int)plain.n, plain.p);
    else
        problem_set(t->problem, BERM_PROBLEM_API, 0, "%s answered %ld", t->client->url, t->status);
    if (t->problem) {
        t->problem->http_status = (int)t->status;
        snprintf(t->problem->code, sizeof(t->problem->code), "%s", code ? code : "");
        problem_clean(t->problem->code);
    }
    arena_free(&arena);
    return -1;
}

/* --- the steps --- */

int transfer_begin(struct berm_client *client, struct transfer *t, struct berm_problem *problem)
{
    t->client = client;
    t->problem = problem;
    t->headers = make_headers(t);
    if (!t->headers || asprintf(&t->url, "%s%s", client->url, t->target) < 0) {
        t->url = NULL;
        transfer_end(t);
        return problem_memory(problem);
    }
    t->lane = lane_take(client, problem);
    if (!t->lane) {
        transfer_end(t);
        return -1;
    }
    set_options(t->lane->easy, t);
    if (curl_multi_add_handle(t->lane->multi, t->lane->easy) == CURLM_OK)
        return 0;
    transfer_end(t);
    return problem_memory(problem);
}

void transfer_end(struct transfer *t)
{
    if (t->lane) {
        curl_multi_remove_handle(t->lane->multi, t->lane->easy);
        if (t->connect_only)
            lane_free(TAKE_PTR(t->lane));
        else
            lane_give(t->client, TAKE_PTR(t->lane));
    }
    curl_slist_free_all(TAKE_PTR(t->headers));
    free(TAKE_PTR(t->url));
}

static int judge(struct transfer *t, CURLcode code)
{
    curl_easy_getinfo(t->lane->easy, CURLINFO_RESPONSE_CODE, &t->status);
    if (t->failed)
        return -1;
    if (t->status >= 300 && (code == CURLE_OK || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR))
        return transfer_api_problem(t);
    if (code != CURLE_OK)
        return connection_problem(t, code, t->why);
    return 1;
}

int transfer_step(struct transfer *t, struct berm_problem *problem)
{
    CURLMsg *message;
    int queued;

    t->problem = problem;
    if (lane_step(t->lane) < 0)
        return problem_memory(problem);
    message = curl_multi_info_read(t->lane->multi, &queued);
    if (message && message->msg == CURLMSG_DONE)
        return judge(t, message->data.result);
    if (t->finished)
        return judge(t, CURLE_OK);
    end_body_of_refused(t);
    return 0;
}

void transfer_go_on(struct transfer *t)
{
    t->hold = false;
    if (!t->receive_held || !t->lane)
        return;
    t->receive_held = false;
    curl_easy_pause(t->lane->easy, t->send_paused ? CURLPAUSE_SEND : CURLPAUSE_CONT);
}

int transfer_wait(struct transfer *t, int timeout_ms, struct berm_problem *problem)
{
    struct pollfd fds[] = {
        { .fd = t->lane->epoll_fd, .events = POLLIN },
        { .fd = atomic_load(&t->client->cancel_fd), .events = POLLIN },
        { .fd = t->send_paused ? t->source_fd : -1, .events = POLLIN },
        { .fd = atomic_load(&t->client->root->cancel_fd), .events = POLLIN },
    };
    int n = poll(fds, ARRAY_SIZE(fds), timeout_ms);

    if (n < 0 && errno != EINTR)
        return problem_set(problem, BERM_PROBLEM_SYSTEM, errno, "poll");
    if (n > 0 && (fds[1].revents || fds[3].revents))
        return problem_set(problem, BERM_PROBLEM_CANCELLED, 0, "cancelled");
    if (n > 0 && fds[2].revents) {
        t->send_paused = false;
        curl_easy_pause(t->lane->easy, t->receive_held ? CURLPAUSE_RECV : CURLPAUSE_CONT);
    }
    return 0;
}

int time_left_ms(int timeout_ms, const struct timespec *began)
{
    struct timespec now;
    int64_t passed;

    if (timeout_ms <= 0)
        return timeout_ms;
    clock_gettime(CLOCK_MONOTONIC, &now);
    passed = (now.tv_sec - began->tv_sec) * 1000 + (now.tv_nsec - began->tv_nsec) / 1000000;
    return passed >= timeout_ms ? 0 : (int)(timeout_ms - passed);
}

int transfer_run(struct berm_client *client, struct transfer *t, struct berm_problem *problem)
{
    int rc = transfer_begin(client, t, problem);

    while (rc == 0) {
        rc = transfer_step(t, problem);
        if (rc == 0)
            rc = transfer_wait(t, -1, problem);
    }
    transfer_end(t);
    return rc < 0 ? -1 : 0;
}

int transfer_json(struct berm_client *client, struct transfer *t, const struct buf *request, struct arena *arena,
                  const struct json **ret_answer, struct berm_problem *problem)
{
    struct berm_error err;

    if (request) {
        t->content_type = "application/json";
        t->body = buf_str(request);
    }
    t->accept = "application/json";
    if (transfer_run(client, t, problem) < 0)
        return -1;
    if (ret_answer && json_parse(arena, buf_str(&t->answer), JSON_MAX_DEPTH, ret_answer, &err) < 0)
        return problem_protocol(problem, &err);
    return 0;
}

int transfer_list(struct berm_client *client, const char *target, struct arena *arena, list_take take, void *list,
                  const char **ret_json, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("GET", target);
    const struct json *answer;
    struct berm_error err;

    if (transfer_json(client, &t, NULL, arena, &answer, problem) < 0)
        return -1;
    if (take(list, answer, &err) < 0)
        return problem_protocol(problem, &err);
    *ret_json = arena_strdup(arena, buf_str(&t.answer));
    return *ret_json ? 0 : problem_memory(problem);
}
