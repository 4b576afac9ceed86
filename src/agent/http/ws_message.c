#include "ws_message.h"

#include "base/utf8.h"

#define DEPTH_MAX 512

struct scan {
    const char *p, *end;
    unsigned depth;
    uint64_t in_object[DEPTH_MAX / 64]; /* a bit per open container */
};

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool is_digit(const struct scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool take_digits(struct scan *s)
{
    if (!is_digit(s))
        return false;
    while (is_digit(s))
        s->p++;
    return true;
}

static bool take_number(struct scan *s)
{
    take(s, '-');
    if (!take(s, '0') && !take_digits(s))
        return false;
    if (take(s, '.') && !take_digits(s))
        return false;
    if (!take(s, 'e') && !take(s, 'E'))
        return true;
    if (!take(s, '+'))
        take(s, '-');
    return take_digits(s);
}

static bool take_word(struct scan *s, struct str word)
{
    if (!str_has_prefix((struct str){ s->p, (size_t)(s->end - s->p) }, word))
        return false;
    s->p += word.n;
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Behind the backslash. */
static bool take_escape(struct scan *s)
{
    if (s->p == s->end || *s->p == '\0' || !strchr("\"\\/bfnrtu", *s->p))
        return false;
    if (*s->p++ != 'u')
        return true;
    for (int i = 0; i < 4; i++, s->p++)
        if (s->p == s->end || !is_hex(*s->p))
            return false;
    return true;
}

static bool take_string(struct scan *s)
{
    if (!take(s, '"'))
        return false;
    for (;;) {
        s->p += utf8_clean_run(s->p, (size_t)(s->end - s->p), UTF8_STOP_JSON);
        if (take(s, '"'))
            return true;
        if (!take(s, '\\') || !take_escape(s))
            return false;
    }
}

static bool take_scalar(struct scan *s)
{
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        return take_string(s);
    case 't':
        return take_word(s, STR("true"));
    case 'f':
        return take_word(s, STR("false"));
    case 'n':
        return take_word(s, STR("null"));
    default:
        return take_number(s);
    }
}

static bool take_key(struct scan *s)
{
    skip_space(s);
    if (!take_string(s))
        return false;
    skip_space(s);
    return take(s, ':');
}

static bool in_object(const struct scan *s)
{
    return s->in_object[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1;
}

static bool enter(struct scan *s, bool object)
{
    uint64_t bit;

    if (s->depth == DEPTH_MAX)
        return false;
    bit = (uint64_t)1 << (s->depth % 64);
    if (object)
        s->in_object[s->depth / 64] |= bit;
    else
        s->in_object[s->depth / 64] &= ~bit;
    s->depth++;
    return true;
}

enum step { STEP_VALUE, STEP_AFTER, STEP_BAD };

/* At the beginning of a value: takes it if it is a scalar or empty, or enters it. */
static enum step begin_value(struct scan *s)
{
    bool object = s->p < s->end && *s->p == '{';

    if (!take(s, '{') && !take(s, '['))
        return take_scalar(s) ? STEP_AFTER : STEP_BAD;
    skip_space(s);
    if (take(s, object ? '}' : ']'))
        return STEP_AFTER;
    if (!enter(s, object) || (object && !take_key(s)))
        return STEP_BAD;
    return STEP_VALUE;
}

/* Behind a value within a container. */
static enum step after_value(struct scan *s)
{
    bool object = in_object(s);

    skip_space(s);
    if (take(s, ','))
        return !object || take_key(s) ? STEP_VALUE : STEP_BAD;
    if (!take(s, object ? '}' : ']'))
        return STEP_BAD;
    s->depth--;
    return STEP_AFTER;
}

/* The text of one value, or n == 0 when there is none. */
static struct str take_value(struct scan *s)
{
    unsigned outside = s->depth;
    enum step step = STEP_VALUE;
    const char *start;

    skip_space(s);
    start = s->p;
    while (step == STEP_VALUE || (step == STEP_AFTER && s->depth > outside)) {
        if (step == STEP_VALUE)
            skip_space(s);
        step = step == STEP_VALUE ? begin_value(s) : after_value(s);
    }
    return step == STEP_BAD ? (struct str){ NULL, 0 } : (struct str){ start, (size_t)(s->p - start) };
}

static void keep(struct ws_message *message, struct str key, struct str value)
{
    const struct {
        struct str key;
        struct str *place;
    } members[] = {
        { STR("\"type\""), &message->type },       { STR("\"id\""), &message->id },
        { STR("\"method\""), &message->method },   { STR("\"path\""), &message->path },
        { STR("\"headers\""), &message->headers }, { STR("\"body\""), &message->body },
    };

    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (str_eq(members[i].key, key))
            *members[i].place = value;
}

static bool take_members(struct scan *s, struct ws_message *message)
{
    skip_space(s);
    if (take(s, '}'))
        return true;
    do {
        struct str key = { NULL, 0 }, value;
        skip_space(s);
        key.p = s->p;
        if (!take_string(s))
            return false;
        key.n = (size_t)(s->p - key.p);
        skip_space(s);
        if (!take(s, ':'))
            return false;
        value = take_value(s);
        if (value.n == 0)
            return false;
        keep(message, key, value);
        skip_space(s);
    } while (take(s, ','));
    return take(s, '}');
}

enum ws_message_kind ws_message_read(struct str text, struct ws_message *ret)
{
    struct scan s = { .p = text.p, .end = text.p + text.n };
    bool ok;

    *ret = (struct ws_message){ .type = { NULL, 0 } };
    skip_space(&s);
    ok = take(&s, '{') ? take_members(&s, ret) : take_value(&s).n > 0;
    skip_space(&s);
    if (!ok || s.p != s.end)
        return WS_MESSAGE_BROKEN;
    if (ret->id.n > WS_MESSAGE_ID_MAX)
        return WS_MESSAGE_UNKNOWN;
    if (str_is(ret->type, "\"request\""))
        return WS_MESSAGE_REQUEST;
    return str_is(ret->type, "\"cancel\"") && ret->id.n > 0 && ret->id.p[0] == '"' ? WS_MESSAGE_CANCEL
                                                                                   : WS_MESSAGE_UNKNOWN;
}
