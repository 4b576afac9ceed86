/*
 * quic_listen.c - one UDP socket for all links. A packet is that link's which has given out the connection id (CID)
 * in it, wherever it comes from. Each link has several, so that a dialler that changes its address takes another
 * one; the first is the dialler's own choice, until it has seen ours.
 */
#include "link/quic.h"

#define READS_TURN  4  /* of UDP_READS trains each: then others get their turn */
#define RETRY_ABOVE 16 /* handshakes under way, from which on addresses have to be proven */

/* --- ids --- */

static struct str cid_text(const uint8_t *p, size_t n)
{
    return (struct str){ (const char *)p, n };
}

static struct quic_link *find(const struct quic_listener *l, const uint8_t *p, size_t n)
{
    uint64_t hash = hash_text(cid_text(p, n));

    for (struct hash_node *node = hash_chain(&l->cids, hash); node; node = node->next) {
        struct quic_cid *cid = container_of(node, struct quic_cid, node);

        if (node->hash == hash && str_eq(cid_text(cid->cid.data, cid->cid.datalen), cid_text(p, n)))
            return cid->owner;
    }
    return NULL;
}

static int remember(struct quic_link *q, const ngtcp2_cid *cid)
{
    struct quic_cid *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return -1;
    entry->owner = q;
    entry->cid = *cid;
    if (hash_insert(&q->listener->cids, &entry->node, hash_text(cid_text(cid->data, cid->datalen))) < 0) {
        free(entry);
        return -1;
    }
    list_append(&q->cids, &entry->of_link);
    return 0;
}

static void forget(struct quic_link *q, struct quic_cid *entry)
{
    hash_remove(&q->listener->cids, &entry->node);
    list_remove(&entry->of_link);
    free(entry);
}

void quic_cid_forget(struct quic_link *q, const ngtcp2_cid *cid)
{
    for (struct list *node = q->cids.next; node != &q->cids; node = node->next) {
        struct quic_cid *entry = container_of(node, struct quic_cid, of_link);

        if (ngtcp2_cid_eq(&entry->cid, cid)) {
            forget(q, entry);
            return;
        }
    }
}

void quic_cids_forget(struct quic_link *q)
{
    while (!list_empty(&q->cids))
        forget(q, container_of(q->cids.next, struct quic_cid, of_link));
}

/* SIGHUP may have brought another key: what is given out from now on has to be known after a restart with it. */
static void renew_secrets(struct quic_listener *l)
{
    struct quic_secrets fresh;

    if (l->secrets_of == l->core->credentials || quic_secrets_derive(&fresh, l->core->credentials) < 0)
        return;
    credentials_unref(l->secrets_of);
    l->secrets_of = credentials_ref(l->core->credentials);
    l->secrets = fresh;
}

int quic_cid_new(struct quic_link *q, ngtcp2_cid *cid, uint8_t *reset_token)
{
    struct quic_listener *l = q->listener;

    cid->datalen = QUIC_CID_LISTENER;
    random_bytes(cid->data, cid->datalen);
    if (ngtcp2_crypto_generate_stateless_reset_token(reset_token, l->secrets.reset, sizeof(l->secrets.reset),
                                                     cid) != 0)
        return -1;
    return remember(q, cid);
}

/* --- a new link --- */

static int make_conn(struct quic_link *q, const struct udp_packet *packet, const ngtcp2_pkt_hd *head,
                     const struct quic_proof *proof)
{
    ngtcp2_transport_params params;
    ngtcp2_settings settings;
    ngtcp2_path path;
    ngtcp2_cid scid;

    quic_settings(q, &settings, &params);
    if (proof->valid)
        settings.token = head->token;
    params.original_dcid = proof->retried ? proof->odcid : head->dcid;
    params.retry_scid = head->dcid;
    params.retry_scid_present = proof->retried;
    params.stateless_reset_token_present = 1;
    if (quic_cid_new(q, &scid, params.stateless_reset_token) < 0 || remember(q, &head->dcid) < 0)
        return -1;
    quic_path(&path, &packet->local, &packet->remote);
    if (ngtcp2_conn_server_new(&q->conn, &head->scid, &scid, &path, head->version, &quic_callbacks, &settings,
                               &params, NULL, q) != 0)
        return -1;
    ngtcp2_conn_set_tls_native_handle(q->conn, q->session);
    return 0;
}

static struct quic_link *new_link(struct quic_listener *l, const struct udp_packet *packet,
                                  const ngtcp2_pkt_hd *head, const struct quic_proof *proof)
{
    struct quic_link *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->listener = l;
    list_init(&q->cids);
    if (quic_session_init(q, l->core->credentials, NULL) < 0 || make_conn(q, packet, head, proof) < 0) {
        quic_link_discard(q);
        return NULL;
    }
    quic_link_init(q, l->core, &l->port);
    link_from(&q->link, &packet->remote);
    return q;
}

/* A packet that is nobody's. What it costs is in this order: nothing, one answer, memory. */
static struct quic_link *begin(struct quic_listener *l, const struct udp_packet *packet)
{
    struct quic_proof proof;
    ngtcp2_pkt_hd head;

    /* Draining: a client goes on asking, and our successor on this port will answer. */
    if (l->core->draining || ngtcp2_accept(&head, packet->p, packet->n) != 0)
        return NULL;
    renew_secrets(l);
    quic_check_token(l, packet, &head, &proof);
    if (!core_admit(l->core, &packet->remote)) {
        if (proof.valid)
            quic_answer_refused(l, packet, &head);
        return NULL;
    }
    if (!proof.valid && l->core->handshakes >= RETRY_ABOVE) {
        quic_answer_retry(l, packet, &head);
        return NULL;
    }
    return new_link(l, packet, &head, &proof);
}

static void on_packet(void *owner, const struct udp_packet *packet)
{
    struct quic_listener *l = owner;
    struct quic_link *q;
    ngtcp2_version_cid ids;
    int rc = ngtcp2_pkt_decode_version_cid(&ids, packet->p, packet->n, QUIC_CID_LISTENER);

    if (rc != 0 && rc != NGTCP2_ERR_VERSION_NEGOTIATION)
        return;
    q = find(l, ids.dcid, ids.dcidlen);
    if (!q && !ids.scid)
        quic_answer_reset(l, packet);
    else if (!q && ids.version != NGTCP2_PROTO_VER_V1)
        quic_answer_version(l, packet, &ids);
    else if (q || (q = begin(l, packet)))
        quic_link_read(q, packet);
}

/* --- the listener --- */

static void on_socket(struct loop_io *io, uint32_t events)
{
    struct quic_listener *l = container_of(io, struct quic_listener, port.io);

    (void)events;
    for (int i = 0; i < READS_TURN && udp_read(&l->port.socket, on_packet, l); i++)
        ;
}

struct quic_listener *quic_listen(struct core *core, int fd)
{
    struct quic_listener *l = calloc(1, sizeof(*l));

    if (!l) {
        close_fd(&fd);
        errno = ENOMEM;
        return NULL;
    }
    l->core = core;
    if (udp_init(&l->port.socket, fd) < 0) {
        free(l);
        return NULL;
    }
    renew_secrets(l);
    if (l->secrets_of && loop_io_add(core->loop, &l->port.io, fd, EPOLLIN, on_socket) == 0)
        return l;
    quic_listener_free(l);
    errno = ENOMEM;
    return NULL;
}

void quic_listener_free(struct quic_listener *l)
{
    if (!l)
        return;
    loop_io_remove(l->core->loop, &l->port.io);
    udp_close(&l->port.socket);
    credentials_unref(l->secrets_of);
    hash_free(&l->cids);
    gnutls_memset(&l->secrets, 0, sizeof(l->secrets));
    free(l);
}
