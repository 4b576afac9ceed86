/* h1_tool.c - shows the differential test how we frame bytes; see h1_tool_io.h. */
#include "net/h1.h"

#include "h1_tool_io.h"

static const struct h1_limits limits = { .max_head = 64 << 10, .max_headers = H1_MAX_HEADERS };

static ssize_t parse(char kind, const char *p, size_t n, struct h1_head *head)
{
    if (kind == 'q')
        return h1_parse_request(p, n, &limits, head);
    return h1_parse_response(p, n, &limits, kind == 'h' ? STR("HEAD") : STR("GET"), head);
}

static void print_head(char kind, const struct h1_head *head)
{
    if (kind == 'q')
        print_pair("m", head->method.p, head->method.n, head->target.p, head->target.n);
    else
        printf("s %d\n", head->status);
    for (size_t i = 0; i < head->header_count; i++) {
        struct h1_header h = head->headers[i];
        print_pair("f", h.name.p, h.name.n, h.value.p, h.value.n);
    }
}

/* The bytes of the body, or -1 after having said why it does not end here. */
static ssize_t run_body(const struct h1_head *head, const char *p, size_t n)
{
    struct h1_body body;
    bool done = false;
    size_t at = 0;

    h1_body_init(&body, head);
    while (!done) {
        struct str content;
        ssize_t took = h1_body_feed(&body, p + at, n - at, &content, &done);
        if (took < 0) {
            printf("end refused body\n");
            return -1;
        }
        if (content.n > 0) {
            printf("b ");
            print_hex(content.p, content.n);
            putchar('\n');
        }
        at += (size_t)took;
        if (took == 0 && !done && head->framing != H1_UNTIL_CLOSE) {
            printf("end more\n");
            return -1;
        }
        done = done || (head->framing == H1_UNTIL_CLOSE && at == n);
    }
    printf("c\n");
    return (ssize_t)at;
}

static void run_case(char kind, const char *p, size_t n)
{
    static struct h1_head head;

    for (size_t at = 0;;) {
        ssize_t rc = parse(kind, p + at, n - at, &head);
        if (rc == 0)
            printf("end more\n");
        if (rc < 0)
            printf("end refused %zd\n", -rc);
        if (rc <= 0)
            return;
        print_head(kind, &head);
        at += (size_t)rc;
        rc = run_body(&head, p + at, n - at);
        if (rc < 0)
            return;
        at += (size_t)rc;
        if (head.upgrade.n > 0 || head.status == 101 || !head.keep_alive) {
            printf(head.keep_alive ? "end upgrade\n" : "end closed\n");
            return;
        }
    }
}

int main(void)
{
    return run_cases();
}
