/* quic_link.c - a QUIC connection: its life, its timer, what its end means. */
#include "link/quic.h"

#define ALERTS     0x100 /* CRYPTO_ERROR: codes from here to 0x1ff are TLS alerts */
#define GRANULE_NS 1000000

/* --- time --- */

static void on_timer(struct loop_timer *timer)
{
    struct quic_link *q = container_of(timer, struct quic_link, timer);
    int rc;

    if (loop_now_ms(q->link.core->loop) >= q->heard_ms + LINK_SILENT_MAX_MS) {
        quic_link_fail(q, NGTCP2_ERR_IDLE_CLOSE);
        return;
    }
    rc = ngtcp2_conn_handle_expiry(q->conn, clock_monotonic_ns());
    if (rc != 0)
        quic_link_fail(q, rc);
    else
        quic_write(q);
}

/*
 * The library paces packets to less than the loop's millisecond, and so allows to be a millisecond early: its times
 * are rounded down. Those that are not about pacing may then find that it is too early, but not twice: the next
 * turn is a millisecond later at least.
 *
 * It counts silence from what it has sent last, when that was the first since it has heard something. So ours is
 * counted here.
 */
void quic_link_arm(struct quic_link *q)
{
    uint64_t now = loop_now_ms(q->link.core->loop);
    uint64_t due = ngtcp2_conn_get_expiry(q->conn) / GRANULE_NS;

    due = MIN(due, q->heard_ms + LINK_SILENT_MAX_MS);
    loop_timer_start(q->link.core->loop, &q->timer, due > now ? due - now : 1);
}

/* --- its end --- */

/* Nothing more happens to it by itself. The core frees it from the loop. */
static void stop(struct quic_link *q)
{
    struct loop *loop = q->link.core->loop;

    q->stopped = true;
    loop_timer_stop(loop, &q->timer);
    loop_defer_cancel(loop, &q->turn);
    if (q->listener)
        quic_cids_forget(q);
    if (q->dialler)
        quic_dialler_stop(q->dialler);
}

static void free_all(struct quic_link *q)
{
    if (q->conn)
        ngtcp2_conn_del(q->conn);
    if (q->session)
        gnutls_deinit(q->session);
    credentials_unref(q->credentials);
    free(q); /* and the dialler that it is the first part of */
}

static void free_link(struct link *link)
{
    struct quic_link *q = quic_link_of(link);

    quic_streams_free(q);
    free_all(q);
}

void quic_link_discard(struct quic_link *q)
{
    if (q->listener)
        quic_cids_forget(q);
    free_all(q);
}

static void close_link(struct link *link, enum link_reason reason)
{
    struct quic_link *q = quic_link_of(link);
    ngtcp2_connection_close_error why;

    ngtcp2_connection_close_error_default(&why);
    ngtcp2_connection_close_error_set_application_error(&why, reason, NULL, 0);
    quic_write_close(q, &why);
    stop(q);
}

void quic_link_lose(struct quic_link *q, enum link_reason reason, const char *text)
{
    stop(q);
    link_down(&q->link, reason, text);
}

/* What the far side said last. Its words are not passed on: they may be anything. */
static enum link_reason what_it_said(struct quic_link *q, char *text, size_t size)
{
    ngtcp2_connection_close_error said;

    if (q->forgotten) {
        snprintf(text, size, "the far side does not know this link any more");
        return LINK_LOST;
    }
    ngtcp2_conn_get_connection_close_error(q->conn, &said);
    if (said.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION) {
        snprintf(text, size, "closed by the far side");
        return said.error_code >= LINK_CLOSED && said.error_code <= LINK_NO_RESOURCES
                   ? (enum link_reason)said.error_code
                   : LINK_PROTOCOL;
    }
    if (said.error_code >= ALERTS && said.error_code < 2 * ALERTS) {
        const char *name = gnutls_alert_get_name((gnutls_alert_description_t)(said.error_code - ALERTS));
        snprintf(text, size, "the far side refused: %s", name ? name : "an alert of TLS");
        return LINK_PROTOCOL;
    }
    if (said.error_code == NGTCP2_CONNECTION_REFUSED) {
        snprintf(text, size, "the far side takes no more links now");
        return LINK_UNREACHABLE;
    }
    snprintf(text, size, "the far side gave up with QUIC's error %llu", (unsigned long long)said.error_code);
    return said.error_code == NGTCP2_NO_ERROR ? LINK_CLOSED : LINK_PROTOCOL;
}

static enum link_reason what_happened(struct quic_link *q, int error, char *text, size_t size)
{
    if (error == NGTCP2_ERR_DRAINING)
        return what_it_said(q, text, size);
    if (error == NGTCP2_ERR_CRYPTO)
        return session_failure(q->session, 0, text, size);
    if (error == NGTCP2_ERR_CALLBACK_FAILURE && q->misfortune) {
        snprintf(text, size, "%s", q->misfortune_text);
        return q->misfortune;
    }
    if (error == NGTCP2_ERR_IDLE_CLOSE || error == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
        snprintf(text, size, q->up ? "nothing was heard for too long" : "no answer");
        return q->up ? LINK_LOST : LINK_UNREACHABLE;
    }
    snprintf(text, size, "QUIC: %s", ngtcp2_strerror(error));
    return ngtcp2_err_is_fatal(error) ? LINK_NO_RESOURCES : LINK_PROTOCOL;
}

void quic_link_fail(struct quic_link *q, int error)
{
    ngtcp2_connection_close_error why;
    enum link_reason reason;
    char text[LINK_TEXT] = "";

    reason = what_happened(q, error, text, sizeof(text));
    ngtcp2_connection_close_error_default(&why);
    if (error == NGTCP2_ERR_CRYPTO)
        ngtcp2_connection_close_error_set_transport_error_tls_alert(&why, ngtcp2_conn_get_tls_alert(q->conn), NULL,
                                                                    0);
    else if (error == NGTCP2_ERR_CALLBACK_FAILURE && q->misfortune)
        ngtcp2_connection_close_error_set_application_error(&why, q->misfortune, NULL, 0);
    else
        ngtcp2_connection_close_error_set_transport_error_liberr(&why, error, NULL, 0);
    if (error != NGTCP2_ERR_DRAINING && error != NGTCP2_ERR_IDLE_CLOSE && error != NGTCP2_ERR_DROP_CONN)
        quic_write_close(q, &why);
    quic_link_lose(q, reason, text);
}

/* --- what comes in --- */

void quic_path(ngtcp2_path *path, const struct link_address *local, const struct link_address *remote)
{
    /* The library copies what it keeps, and changes nothing here. */
    *path = (ngtcp2_path){ .local = { (struct sockaddr *)(uintptr_t)&local->any, local->len },
                           .remote = { (struct sockaddr *)(uintptr_t)&remote->any, remote->len } };
}

void quic_link_read(struct quic_link *q, const struct udp_packet *packet)
{
    ngtcp2_pkt_info info = { .ecn = packet->ecn };
    ngtcp2_path path;
    int rc;

    if (q->stopped)
        return;
    quic_path(&path, &packet->local, &packet->remote);
    rc = ngtcp2_conn_read_pkt(q->conn, &path, &info, packet->p, packet->n, clock_monotonic_ns());
    if (rc != 0) {
        quic_link_fail(q, rc);
        return;
    }
    q->heard_ms = loop_now_ms(q->link.core->loop);
    quic_link_touch(q);
}

static void on_turn(struct loop_deferred *turn)
{
    struct quic_link *q = container_of(turn, struct quic_link, turn);

    if (q->held > QUIC_HELD_MAX)
        quic_link_lose(q, LINK_PROTOCOL, "the far side does not let go of streams that were reset");
    else
        quic_write(q);
}

void quic_link_touch(struct quic_link *q)
{
    if (!q->stopped)
        loop_defer(q->link.core->loop, &q->turn);
}

/* --- what the library says about the connection --- */

static void peer_text(struct quic_link *q, char *text, size_t size)
{
    const ngtcp2_addr *peer = &ngtcp2_conn_get_path(q->conn)->remote;
    struct link_address address = { .len = peer->addrlen };

    memcpy(&address.any, peer->addr, MIN((size_t)peer->addrlen, sizeof(address.v6)));
    link_address_print(&address, text, size);
}

/* For the dialler: the far side has shown its certificate, and taken us. For the listener: it has finished. */
static int on_handshake(ngtcp2_conn *conn, void *owner)
{
    struct quic_link *q = owner;
    char peer[LINK_TEXT];

    if (session_check_alpn(q->session, LINK_ALPN_QUIC) < 0 || ngtcp2_conn_get_streams_uni_left(conn) == 0) {
        q->misfortune = LINK_PROTOCOL;
        q->misfortune_text = "the far side does not speak " LINK_ALPN_QUIC;
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    if (q->listener)
        quic_give_token(q);
    q->up = true;
    ngtcp2_conn_set_keep_alive_timeout(conn, LINK_KEEP_ALIVE_MS * NGTCP2_MILLISECONDS);
    peer_text(q, peer, sizeof(peer));
    link_up(&q->link, LINK_QUIC, peer);
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *conn, const ngtcp2_pkt_stateless_reset *reset, void *owner)
{
    (void)conn;
    (void)reset;
    ((struct quic_link *)owner)->forgotten = true;
    return 0;
}

static int on_new_cid(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token, size_t n, void *owner)
{
    struct quic_link *q = owner;

    (void)conn;
    if (q->listener)
        return quic_cid_new(q, cid, token) < 0 ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
    cid->datalen = n;
    random_bytes(cid->data, n);
    random_bytes(token, NGTCP2_STATELESS_RESET_TOKENLEN);
    return 0;
}

static int on_cid_gone(ngtcp2_conn *conn, const ngtcp2_cid *cid, void *owner)
{
    struct quic_link *q = owner;

    (void)conn;
    if (q->listener)
        quic_cid_forget(q, cid);
    return 0;
}

static int on_token(ngtcp2_conn *conn, const ngtcp2_vec *token, void *owner)
{
    struct quic_link *q = owner;

    (void)conn;
    if (q->dialler)
        quic_keep_token(token->base, token->len);
    return 0;
}

static void on_random(uint8_t *p, size_t n, const ngtcp2_rand_ctx *context)
{
    (void)context;
    random_bytes(p, n);
}

const ngtcp2_callbacks quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = on_handshake,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = quic_on_stream_data,
    .acked_stream_data_offset = quic_on_stream_acked,
    .stream_open = quic_on_stream_open,
    .stream_close = quic_on_stream_close,
    .stream_reset = quic_on_stream_reset,
    .extend_max_stream_data = quic_on_stream_window,
    .recv_stateless_reset = on_stateless_reset,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .rand = on_random,
    .get_new_connection_id = on_new_cid,
    .remove_connection_id = on_cid_gone,
    .update_key = ngtcp2_crypto_update_key_cb,
    .recv_new_token = on_token,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
};

/* --- its beginning --- */

static const struct transport_ops ops = {
    .open = quic_open,
    .wake = quic_wake,
    .consumed = quic_consumed,
    .stop = quic_stop,
    .reset = quic_reset,
    .drain = quic_drain,
    .close = close_link,
    .free = free_link,
};

void quic_settings(const struct quic_link *q, ngtcp2_settings *settings, ngtcp2_transport_params *params)
{
    ngtcp2_settings_default(settings);
    settings->initial_ts = clock_monotonic_ns();
    settings->cc_algo = QUIC_CONGESTION;
    settings->max_tx_udp_payload_size = QUIC_PACKET_MAX;
    settings->handshake_timeout = LINK_HANDSHAKE_MS * NGTCP2_MILLISECONDS;
    ngtcp2_transport_params_default(params);
    params->initial_max_data = LINK_WINDOW;
    params->initial_max_stream_data_bidi_local = q->listener ? LINK_STREAM_WINDOW : 0;
    params->initial_max_stream_data_bidi_remote = q->listener ? 0 : LINK_STREAM_WINDOW;
    params->initial_max_streams_bidi = q->listener ? 0 : LINK_STREAMS_MAX;
    params->initial_max_stream_data_uni = 64;
    params->initial_max_streams_uni = 1;
    params->max_idle_timeout = LINK_SILENT_MAX_MS * NGTCP2_MILLISECONDS;
    params->active_connection_id_limit = QUIC_CIDS;
}

void quic_link_init(struct quic_link *q, struct core *core, struct quic_port *port)
{
    q->port = port;
    q->control = -1;
    q->heard_ms = loop_now_ms(core->loop);
    q->turn.callback = on_turn;
    loop_timer_init(&q->timer, on_timer);
    list_init(&q->streams);
    list_init(&q->sending);
    link_init(&q->link, core, &ops);
}
