#include "netlink.h"

#include <assert.h>
#include <sys/socket.h>

void netlink_init(struct netlink_batch *batch)
{
    batch->len = batch->message = batch->depth = 0;
    batch->messages = 0;
    batch->overflow = false;
}

static void *grow(struct netlink_batch *batch, size_t n)
{
    size_t aligned = NLMSG_ALIGN(n);
    void *at = batch->data + batch->len;

    if (aligned > sizeof(batch->data) - batch->len) {
        batch->overflow = true;
        return NULL;
    }
    memset(at, 0, aligned);
    batch->len += aligned;
    return at;
}

void netlink_begin(struct netlink_batch *batch, uint16_t type, uint16_t flags, const void *header, size_t n)
{
    size_t at = batch->len;
    struct nlmsghdr *message = grow(batch, NLMSG_HDRLEN + n);

    if (!message)
        return;
    batch->message = at;
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | flags;
    message->nlmsg_seq = ++batch->messages;
    memcpy(NLMSG_DATA(message), header, n);
}

void netlink_put(struct netlink_batch *batch, uint16_t type, const void *value, size_t n)
{
    struct nlattr *attribute = grow(batch, NLA_HDRLEN + n);

    if (!attribute)
        return;
    attribute->nla_type = type;
    attribute->nla_len = (uint16_t)(NLA_HDRLEN + n);
    if (n > 0)
        memcpy((char *)attribute + NLA_HDRLEN, value, n);
}

void netlink_put_text(struct netlink_batch *batch, uint16_t type, const char *text)
{
    netlink_put(batch, type, text, strlen(text) + 1);
}

void netlink_put_be32(struct netlink_batch *batch, uint16_t type, uint32_t value)
{
    uint32_t big = __builtin_bswap32(value); /* both architectures are little endian */

    netlink_put(batch, type, &big, sizeof(big));
}

void netlink_nest(struct netlink_batch *batch, uint16_t type)
{
    assert(batch->depth < NETLINK_DEPTH_MAX);
    batch->nests[batch->depth++] = batch->len;
    netlink_put(batch, type | NLA_F_NESTED, NULL, 0);
}

void netlink_unnest(struct netlink_batch *batch)
{
    size_t at = batch->nests[--batch->depth];

    if (!batch->overflow)
        ((struct nlattr *)(void *)(batch->data + at))->nla_len = (uint16_t)(batch->len - at);
}

void netlink_end(struct netlink_batch *batch)
{
    if (!batch->overflow)
        ((struct nlmsghdr *)(void *)(batch->data + batch->message))->nlmsg_len =
            (uint32_t)(batch->len - batch->message);
}

/* --- the answer --- */

static uint32_t last_acknowledged(const struct netlink_batch *batch)
{
    uint32_t last = 0;

    for (size_t at = 0; at < batch->len;) {
        const struct nlmsghdr *message = (const void *)(batch->data + at);

        if (message->nlmsg_flags & NLM_F_ACK)
            last = message->nlmsg_seq;
        at += NLMSG_ALIGN(message->nlmsg_len);
    }
    return last;
}

/* Answers come in the order of the messages. 1: this was the last one. */
static int take_answers(const char *p, size_t n, uint32_t last)
{
    while (n >= NLMSG_HDRLEN + sizeof(struct nlmsgerr)) {
        const struct nlmsghdr *message = (const void *)p;
        const struct nlmsgerr *answer = (const void *)(p + NLMSG_HDRLEN);
        size_t length = NLMSG_ALIGN(message->nlmsg_len);

        if (message->nlmsg_type != NLMSG_ERROR || length < NLMSG_HDRLEN + sizeof(*answer) || length > n)
            break;
        if (answer->error != 0) {
            errno = -answer->error;
            return -1;
        }
        if (message->nlmsg_seq == last)
            return 1;
        p += length;
        n -= length;
    }
    if (n == 0)
        return 0;
    errno = EPROTO;
    return -1;
}

int netlink_talk(const struct netlink_batch *batch, int protocol)
{
    const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    _cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    uint32_t last = last_acknowledged(batch);
    char answers[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
    int rc = 0;

    if (batch->overflow) {
        errno = EMSGSIZE;
        return -1;
    }
    if (sock < 0 || sendto(sock, batch->data, batch->len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -1;
    /* The kernel has worked the messages off in sendto(): what is not there now will never come. */
    while (rc == 0) {
        ssize_t n = recv(sock, answers, sizeof(answers), MSG_DONTWAIT);

        if (n < 0)
            return -1;
        rc = take_answers(answers, (size_t)n, last);
    }
    return rc < 0 ? -1 : 0;
}
