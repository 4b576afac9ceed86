#include "cloudflared.h"

#include "json.h"

#include <stdio.h>
#include <strings.h>

void cloudflared_arguments(bool named, const char *token, const char *url, const char *ret[CLOUDFLARED_ARGS])
{
    size_t n = 0;

    ret[n++] = "cloudflared";
    ret[n++] = "tunnel";
    ret[n++] = "--metrics";
    ret[n++] = "127.0.0.1:0";
    ret[n++] = "--no-autoupdate";
    if (named) {
        ret[n++] = "run";
        if (token) {
            ret[n++] = "--token";
            ret[n++] = token;
        }
    } else {
        ret[n++] = "--output";
        ret[n++] = "json";
    }
    ret[n++] = "--url";
    ret[n++] = url;
    ret[n] = NULL;
}

bool cloudflared_label_valid(struct str label)
{
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return label.n > 0 && label.n <= CLOUDFLARED_LABEL_MAX && label.p[0] != '-' && label.p[label.n - 1] != '-' &&
           !str_is(label, "api"); /* where it asks for a tunnel, and says so when it cannot */
}

struct str cloudflared_label(const char *url)
{
    const char *label = url + strlen("https://");

    return (struct str){ label, strcspn(label, ".") };
}

/* Of `text`, which is NUL-terminated. */
static void look_for_metrics(struct cloudflared_output *output, const char *text)
{
    static const char lead[] = "metrics server on 127.0.0.1:";
    const char *at = strcasestr(text, lead);
    uint64_t port;
    size_t n;

    if (!at || output->metrics_port != 0)
        return;
    at += sizeof(lead) - 1;
    n = strspn(at, "0123456789");
    if (str_to_u64((struct str){ at, n }, &port) == 0 && port > 0 && port <= 65535)
        output->metrics_port = (uint16_t)port;
}

/* Whether a host name goes on with it: then what was read is not the whole of it. */
static bool goes_on(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._:@%", c));
}

static bool take_label(struct cloudflared_output *output, const char *at, size_t n)
{
    char label[CLOUDFLARED_LABEL_MAX + 1];

    if (n > CLOUDFLARED_LABEL_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        label[i] = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] + 32 : at[i]);
    label[n] = '\0';
    if (!cloudflared_label_valid((struct str){ label, n }))
        return false;
    snprintf(output->url, sizeof(output->url), "https://%s." CLOUDFLARED_DOMAIN, label);
    return true;
}

static void look_for_url(struct cloudflared_output *output, const char *text)
{
    static const char scheme[] = "https://", tail[] = "." CLOUDFLARED_DOMAIN;
    const char *at = text;

    while (output->quick && output->url[0] == '\0' && (at = strcasestr(at, scheme))) {
        const char *label = at + sizeof(scheme) - 1;
        size_t n = strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

        if (strncasecmp(label + n, tail, sizeof(tail) - 1) == 0 && !goes_on(label[n + sizeof(tail) - 1]) &&
            take_label(output, label, n))
            return;
        at = label;
    }
}

/* A line is plain text, or JSON whose "message" is the text. */
static void look_at_line(struct cloudflared_output *output, const char *line, size_t n)
{
    const struct json *json, *message = NULL;
    struct arena arena;
    const char *text = line;

    if (n == 0 || output->done)
        return;
    arena_init(&arena, (size_t)1 << 20);
    if (line[0] == '{' && json_parse(&arena, (struct str){ line, n }, JSON_MAX_DEPTH, &json, NULL) == 0)
        message = json_get(json, "message");
    if (message && message->type == JSON_STRING)
        text = message->string.p;
    look_for_metrics(output, text);
    look_for_url(output, text);
    output->limited |= strstr(line, "429 Too Many Requests") || strstr(line, "error code: 1015");
    arena_free(&arena);
}

char *cloudflared_output_room(struct cloudflared_output *output, int stream, size_t *ret_room)
{
    *ret_room = CLOUDFLARED_LINE_MAX - 1 - output->n[stream];
    return output->lines[stream] + output->n[stream];
}

void cloudflared_output_take(struct cloudflared_output *output, int stream, size_t n)
{
    char *line = output->lines[stream];
    size_t have = output->n[stream] + n, used = 0;
    char *end;

    while ((end = memchr(line + used, '\n', have - used))) {
        *end = '\0';
        if (!output->skipping[stream])
            look_at_line(output, line + used, (size_t)(end - line) - used);
        output->skipping[stream] = false;
        used = (size_t)(end - line) + 1;
    }
    memmove(line, line + used, have - used);
    output->n[stream] = have - used;
    if (output->n[stream] == CLOUDFLARED_LINE_MAX - 1) {
        output->skipping[stream] = true; /* nothing that we look for is so long */
        output->n[stream] = 0;
    }
}
