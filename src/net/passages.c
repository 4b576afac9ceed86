#include "passages.h"

#include "base/sys.h"
#include "relay.h"
#include "server.h"

/* Both sides end at once: when one has ended, the other has so long without progress. */
#define LINGER_MS 10000

struct passage {
    struct list node;
    struct passages *passages;
    struct relay *relay;
    uint8_t address[16];
    void (*on_end)(void *data);
    void *data;
};

void passages_init(struct passages *passages, uint32_t max, uint32_t max_peer)
{
    *passages = (struct passages){ .max = max, .max_peer = max_peer };
    list_init(&passages->all);
}

static void end(struct passage *passage)
{
    relay_free(passage->relay);
    list_remove(&passage->node);
    passage->passages->count--;
    if (passage->on_end)
        passage->on_end(passage->data);
    free(passage);
}

void passages_free(struct passages *passages)
{
    while (!list_empty(&passages->all))
        end(container_of(passages->all.next, struct passage, node));
}

bool passages_full(const struct passages *passages, const uint8_t *address)
{
    uint32_t same = 0;

    if (passages->count >= passages->max)
        return true;
    if (!address || passages->max_peer == 0)
        return false;
    for (const struct list *node = passages->all.next; node != &passages->all; node = node->next)
        same += http_same_client(address, container_of(node, struct passage, node)->address);
    return same >= passages->max_peer;
}

static void on_relay_end(void *data)
{
    struct passage *passage = data;

    passage->relay = NULL;
    end(passage);
}

int passages_join(struct passages *passages, struct loop *loop, const struct passage_ends *ends)
{
    struct passage *passage = calloc(1, sizeof(*passage));
    int client = ends->client, server = ends->server;

    if (!passage) {
        close_fd(&client);
        close_fd(&server);
        return -1;
    }
    passage->relay = relay_start(loop, client, server, ends->from_client, on_relay_end, passage);
    if (!passage->relay || relay_give_a(passage->relay, ends->from_server) < 0) {
        relay_free(passage->relay);
        free(passage);
        return -1;
    }
    relay_set_linger(passage->relay, LINGER_MS);
    passage->passages = passages;
    memcpy(passage->address, ends->address, sizeof(passage->address));
    passage->on_end = ends->on_end;
    passage->data = ends->data;
    list_append(&passages->all, &passage->node);
    passages->count++;
    return 0;
}
