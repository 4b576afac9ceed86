/* wire.c - what bermd asks for, and what it is told. */
#include "connector/connector.h"

#include "base/log.h"

#include <sys/socket.h>

#define MESSAGES_AT_ONCE 32

bool connector_accepts(const struct connector_message *message, size_t n)
{
    if (n != sizeof(*message) || message->version != CONNECTOR_WIRE_VERSION || message->run == 0 ||
        !connector_text_ends(message))
        return false;
    if (message->type == CONNECTOR_START)
        return message->named <= 1 && (message->named == 1) == (message->text[0] != '\0');
    return message->type == CONNECTOR_STOP;
}

static void end_all(struct connector *connector)
{
    if (connector->ending)
        return;
    connector->ending = true;
    loop_io_remove(connector->loop, &connector->wire);
    for (struct list *node = connector->runs.next; node != &connector->runs; node = node->next)
        run_stop(container_of(node, struct run, node), CONNECTOR_STOPPED);
    if (connector->run_count == 0)
        loop_stop(connector->loop);
}

/* A bermd that does not read any more is as good as gone. */
void connector_tell(struct connector *connector, const struct connector_message *message)
{
    if (connector->ending)
        return;
    if (send(connector->wire.fd, message, sizeof(*message), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(*message)) {
        log_error("wire_full", "reason", strerror(errno));
        end_all(connector);
    }
}

static void obey(struct connector *connector, const struct connector_message *message)
{
    struct run *run = run_find(connector, message->run);

    if (message->type == CONNECTOR_START && !run && message->run > connector->buried)
        run_begin(connector, message);
    else if (message->type == CONNECTOR_STOP && run)
        run_stop(run, CONNECTOR_STOPPED);
}

static void on_wire(struct loop_io *io, uint32_t events)
{
    struct connector *connector = container_of(io, struct connector, wire);
    struct connector_message message;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && !connector->ending; i++) {
        ssize_t n = recv(io->fd, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK);

        if (n > 0 && connector_accepts(&message, (size_t)n) && message.type == CONNECTOR_START)
            run_note(connector, message.run); /* first: a crash must not lose it */
        n = recv(io->fd, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n > 0 && connector_accepts(&message, (size_t)n)) {
            obey(connector, &message);
        } else {
            if (n > 0)
                log_error("wire_invalid", "bytes", log_num(n));
            end_all(connector);
        }
        explicit_bzero(message.text, sizeof(message.text));
    }
}

int connector_serve(struct connector *connector, int wire)
{
    int rc;

    list_init(&connector->runs);
    if (loop_io_add(connector->loop, &connector->wire, wire, EPOLLIN, on_wire) < 0)
        return 1;
    runs_bury(connector);
    rc = loop_run(connector->loop);
    loop_flush_deferred(connector->loop);
    return rc < 0 ? 1 : 0;
}
