/* client.c - a client: where the daemon is, and what goes with every call. */
#include "internal.h"

#include <stdio.h>

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static bool curl_ready;

static void start_curl(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

static bool host_is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

static void free_curl_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void free_curl_string(char **s)
{
    curl_free(*s);
}

/* Only what a base URL can be: the paths are ours, and credentials in it would end up in error messages. */
static int check_url(struct berm_client *client, const char *url, struct berm_problem *problem)
{
    _cleanup_(free_curl_url) CURLU *parsed = curl_url();
    _cleanup_(free_curl_string) char *scheme = NULL, *host = NULL, *extra = NULL;
    size_t n = strlen(url);

    if (!parsed)
        return problem_memory(problem);
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "'%s' is not an http or https URL", url);
    if (curl_url_get(parsed, CURLUPART_USER, &extra, 0) == CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_QUERY, &extra, 0) == CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_FRAGMENT, &extra, 0) == CURLUE_OK)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the URL must not have a user, query or fragment");
    client->loopback = host_is_loopback(host);
    while (n > 0 && url[n - 1] == '/')
        n--;
    client->url = strndup(url, n);
    return client->url ? 0 : problem_memory(problem);
}

/* A line break in the key would be a second header. */
static int set_key(struct berm_client *client, const char *key, struct berm_problem *problem)
{
    _cleanup_free_ char *line = NULL;

    for (const unsigned char *c = (const unsigned char *)key; *c; c++) {
        if (*c <= 0x20 || *c >= 0x7f)
            return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the API key has characters that no key has");
    }
    if (asprintf(&line, "Authorization: Bearer %s", key) < 0) {
        line = NULL;
        return problem_memory(problem);
    }
    client->auth = curl_slist_append(NULL, line);
    explicit_bzero(line, strlen(line));
    return client->auth ? 0 : problem_memory(problem);
}

int berm_client_new(const struct berm_client_options *options, struct berm_client **ret_client,
                    struct berm_problem *problem)
{
    const char *url = options && options->url ? options->url : BERM_DEFAULT_URL;
    const char *key = options ? options->api_key : NULL;
    struct berm_client *client;

    pthread_once(&curl_once, start_curl);
    client = curl_ready ? calloc(1, sizeof(*client)) : NULL;
    if (!client)
        return problem_memory(problem);
    client->root = client;
    atomic_init(&client->cancel_fd, -1);
    pthread_mutex_init(&client->lock, NULL);
    if (check_url(client, url, problem) < 0 || (key && key[0] && set_key(client, key, problem) < 0)) {
        berm_client_free(client);
        return -1;
    }
    if (options && options->ca_file) {
        client->ca_file = strdup(options->ca_file);
        if (!client->ca_file) {
            berm_client_free(client);
            return problem_memory(problem);
        }
    }
    *ret_client = client;
    return 0;
}

static int add_field(struct berm_client *client, const char *line, struct berm_problem *problem)
{
    struct curl_slist *longer = curl_slist_append(client->fields, line);

    if (!longer)
        return problem_memory(problem);
    client->fields = longer;
    return 0;
}

/* 1 to 128 visible characters: a line break would be a field of the caller's. */
static bool is_key(const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)key[i] <= 0x20 || (unsigned char)key[i] >= 0x7f)
            return false;
    return n >= 1 && n <= 128;
}

int berm_client_with(struct berm_client *client, const struct berm_with *with, struct berm_client **ret_client,
                     struct berm_problem *problem)
{
    struct berm_client *derived;
    char line[160];
    int rc = 0;

    if (with->idempotency_key && !is_key(with->idempotency_key))
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "an idempotency key has 1 to 128 visible characters");
    if (with->if_generation < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "a generation is a positive number");
    derived = calloc(1, sizeof(*derived));
    if (!derived)
        return problem_memory(problem);
    derived->root = client->root;
    derived->url = client->root->url;
    derived->ca_file = client->root->ca_file;
    derived->auth = client->root->auth;
    derived->loopback = client->root->loopback;
    atomic_init(&derived->cancel_fd, with->cancel_fd);
    if (with->idempotency_key) {
        snprintf(line, sizeof(line), "Idempotency-Key: %s", with->idempotency_key);
        rc = add_field(derived, line, problem);
    }
    if (rc == 0 && with->if_generation > 0) {
        snprintf(line, sizeof(line), "Berm-If-Generation: %lld", (long long)with->if_generation);
        rc = add_field(derived, line, problem);
    }
    if (rc < 0)
        berm_client_free(derived);
    else
        *ret_client = derived;
    return rc;
}

void berm_client_free(struct berm_client *client)
{
    struct lane *lane;

    if (!client)
        return;
    curl_slist_free_all(client->fields);
    if (client->root != client) {
        free(client);
        return;
    }
    while ((lane = client->idle)) {
        client->idle = lane->next;
        lane_free(lane);
    }
    pthread_mutex_destroy(&client->lock);
    curl_slist_free_all(client->auth);
    free(client->url);
    free(client->ca_file);
    free(client);
}

void berm_client_set_cancel_fd(struct berm_client *client, int fd)
{
    atomic_store(&client->cancel_fd, fd);
}

bool sandbox_id_valid(const char *id)
{
    size_t n = id ? strspn(id, "abcdefghijklmnopqrstuvwxyz234567") : 0;

    return n > 0 && n <= 128 && id[n] == '\0';
}

char *sandbox_target(const char *id, const char *rest, struct berm_problem *problem)
{
    char *target;

    if (!sandbox_id_valid(id)) {
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0,
                    "'%.128s' is not a sandbox id: 1 to 128 characters of a-z and 2-7", id ? id : "");
        return NULL;
    }
    if (asprintf(&target, "/v1/sandbox/%s%s", id, rest) < 0) {
        problem_memory(problem);
        return NULL;
    }
    return target;
}

int append_encoded(struct buf *out, const char *s, const char *keep)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *s; s++) {
        bool plain = strchr(unreserved, *s) || strchr(keep, *s);
        if (plain ? buf_append(out, s, 1) < 0 : buf_printf(out, "%%%02X", (unsigned char)*s) < 0)
            return -1;
    }
    return 0;
}

int write_pairs(struct json_writer *w, const char *key, const char *const *pairs, struct berm_problem *problem)
{
    if (!pairs)
        return 0;
    json_key(w, key);
    json_object_begin(w);
    for (; *pairs; pairs++) {
        const char *equals = strchr(*pairs, '=');
        _cleanup_free_ char *name = equals && equals > *pairs ? strndup(*pairs, (size_t)(equals - *pairs)) : NULL;
        if (!equals || equals == *pairs)
            return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "'%s' is not NAME=value", *pairs);
        if (!name)
            return problem_memory(problem);
        json_pair_cstring(w, name, equals + 1);
    }
    json_object_end(w);
    return 0;
}

int take_string(const struct json *object, const char *key, char **ret, struct berm_problem *problem)
{
    struct berm_error err;
    const char *value = NULL;

    if (json_field_cstring(object, key, &value, &err) < 0)
        return problem_protocol(problem, &err);
    if (!value)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the daemon's answer has no \"%s\"", key);
    *ret = strdup(value);
    return *ret ? 0 : problem_memory(problem);
}
