#include "daemon/docker/log_view.h"

#include <endian.h>
#include <time.h>

#define NS_PER_SECOND ((uint64_t)1000000000)
#define TEXT_MAX      ((size_t)64 * 1024)
#define SECONDS_MAX   ((uint64_t)9999999999) /* the year 2286 */
#define TIME_TEXT     40

int log_record_parse(struct str bytes, struct log_record *ret)
{
    uint32_t length;

    if (bytes.n < LOG_RECORD_HEAD)
        return 1;
    memcpy(&length, bytes.p + 4, sizeof(length));
    memcpy(&ret->time_ns, bytes.p + 8, sizeof(ret->time_ns));
    ret->time_ns = be64toh(ret->time_ns);
    ret->stream = (unsigned char)bytes.p[0];
    ret->text = (struct str){ bytes.p + LOG_RECORD_HEAD, be32toh(length) };
    ret->size = LOG_RECORD_HEAD + ret->text.n;
    if ((ret->stream != 1 && ret->stream != 2) || ret->text.n > TEXT_MAX)
        return -1;
    return bytes.n < ret->size;
}

/* --- times --- */

/* Up to nine digits behind a point, as nanoseconds. */
static int parse_fraction(struct str digits, uint64_t *ret)
{
    uint64_t value;

    if (digits.n == 0 || digits.n > 9 || str_to_u64(digits, &value) < 0)
        return -1;
    for (size_t i = digits.n; i < 9; i++)
        value *= 10;
    *ret = value;
    return 0;
}

static int join(uint64_t seconds, uint64_t nanoseconds, uint64_t *ret)
{
    if (seconds > SECONDS_MAX)
        return -1;
    *ret = seconds * NS_PER_SECOND + nanoseconds;
    return 0;
}

static int parse_rfc3339(const char *text, uint64_t *ret)
{
    struct tm tm = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    uint64_t fraction = 0;
    size_t digits;
    time_t seconds;

    if (!rest)
        return -1;
    if (*rest == '.') {
        digits = strspn(rest + 1, "0123456789");
        if (parse_fraction((struct str){ rest + 1, digits }, &fraction) < 0)
            return -1;
        rest += 1 + digits;
    }
    seconds = timegm(&tm);
    if (strcmp(rest, "Z") != 0 || seconds < 0)
        return -1;
    return join((uint64_t)seconds, fraction, ret);
}

int log_time_parse(const char *text, uint64_t *ret_ns)
{
    const char *point = strchr(text, '.');
    struct str whole = { text, point ? (size_t)(point - text) : strlen(text) };
    uint64_t seconds, fraction = 0;

    if (strchr(text, 'T'))
        return parse_rfc3339(text, ret_ns);
    if (str_to_u64(whole, &seconds) < 0 || (point && parse_fraction(str_from(point + 1), &fraction) < 0))
        return -1;
    return join(seconds, fraction, ret_ns);
}

/* As Docker writes it: nine digits behind the point, always, and a blank. */
static struct str time_text(uint64_t ns, char out[TIME_TEXT])
{
    time_t seconds = (time_t)(ns / NS_PER_SECOND);
    struct tm tm;
    size_t n;

    if (!gmtime_r(&seconds, &tm))
        return STR("");
    n = strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(out + n, TIME_TEXT - n, ".%09uZ ", (unsigned)(ns % NS_PER_SECOND));
    return (struct str){ out, n };
}

/* --- lines --- */

static struct str take_piece(struct str *text)
{
    const char *end = memchr(text->p, '\n', text->n);
    struct str piece = { text->p, end ? (size_t)(end + 1 - text->p) : text->n };

    *text = (struct str){ text->p + piece.n, text->n - piece.n };
    return piece;
}

static bool ends_line(struct str piece)
{
    return piece.p[piece.n - 1] == '\n';
}

static bool in_range(const struct log_view *view, const struct log_record *record)
{
    return record->time_ns >= view->since_ns && record->time_ns <= view->until_ns;
}

uint64_t log_view_count(struct log_view *view, const struct log_record *record)
{
    struct log_line *line = &view->lines[record->stream];
    struct str text = record->text;
    uint64_t count = 0;

    if (!(view->streams & 1u << record->stream))
        return 0;
    while (text.n > 0) {
        struct str piece = take_piece(&text);

        count += !line->begun && in_range(view, record);
        line->begun = !ends_line(piece);
    }
    return count;
}

/* The record's text goes out whole: nothing is left out, and nothing is put in. */
static bool whole(const struct log_view *view, const struct log_record *record)
{
    const struct log_line *line = &view->lines[record->stream];

    return !view->timestamps && view->skip == 0 && in_range(view, record) && (!line->begun || line->wanted);
}

void log_view_take(struct log_view *view, const struct log_record *record,
                   void (*emit)(void *data, int stream, struct str time, struct str text), void *data)
{
    struct log_line *line = &view->lines[record->stream];
    struct str text = record->text;
    char buffer[TIME_TEXT];

    if (!(view->streams & 1u << record->stream) || text.n == 0)
        return;
    if (whole(view, record)) {
        *line = (struct log_line){ .begun = !ends_line(text), .wanted = true };
        emit(data, record->stream, STR(""), text);
        return;
    }
    while (text.n > 0) {
        struct str piece = take_piece(&text);
        bool first = !line->begun;

        if (first) {
            line->wanted = in_range(view, record) && view->skip == 0;
            view->skip -= in_range(view, record) && view->skip > 0;
        }
        line->begun = !ends_line(piece);
        if (line->wanted)
            emit(data, record->stream, first && view->timestamps ? time_text(record->time_ns, buffer) : STR(""),
                 piece);
    }
}
