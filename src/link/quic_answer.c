/*
 * quic_answer.c - answers to packets that belong to no link. Each is one packet, smaller than the one it answers,
 * so that nobody can have us flood a third address, and no two of us can answer each other for ever; nothing is
 * kept.
 */
#include "link/quic.h"

#define RETRY_VALID   (10 * NGTCP2_SECONDS)
#define TOKEN_VALID   (24 * 3600 * NGTCP2_SECONDS)
#define RESETS_SECOND 200
#define RESET_MAX     43 /* like a small packet of a connection */
#define RESET_MIN     (NGTCP2_MIN_STATELESS_RESET_RANDLEN + NGTCP2_STATELESS_RESET_TOKENLEN)

static void answer(struct quic_listener *l, const struct udp_packet *packet, const uint8_t *p, ngtcp2_ssize n)
{
    if (n > 0 && (size_t)n <= packet->n)
        udp_send(&l->port.socket, &packet->local, &packet->remote, 0, p, (size_t)n, (size_t)n);
}

/* Realtime, as tokens outlive us. */
static ngtcp2_tstamp token_time(void)
{
    return (ngtcp2_tstamp)clock_realtime_ms() * NGTCP2_MILLISECONDS;
}

void quic_answer_version(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_version_cid *ids)
{
    const uint32_t versions[] = { NGTCP2_PROTO_VER_V1 };
    uint8_t p[600], random;

    /* 0: it is such an answer itself. Smaller ones than clients send would be worth more than they cost. */
    if (ids->version == 0 || packet->n < NGTCP2_MAX_UDP_PAYLOAD_SIZE)
        return;
    random_bytes(&random, 1);
    answer(l, packet, p,
           ngtcp2_pkt_write_version_negotiation(p, sizeof(p), random, ids->scid, ids->scidlen, ids->dcid,
                                                ids->dcidlen, versions, ARRAY_SIZE(versions)));
}

/* Says to a dialler that is sure to have a link with us that it has not: we were started again. */
void quic_answer_reset(struct quic_listener *l, const struct udp_packet *packet)
{
    uint64_t now = loop_now_ms(l->core->loop);
    uint8_t p[RESET_MAX], random[RESET_MAX], token[NGTCP2_STATELESS_RESET_TOKENLEN];
    size_t size = MIN(packet->n - 1, (size_t)RESET_MAX);
    ngtcp2_cid cid;

    if (now - l->answers_ms >= 1000) {
        l->answers_ms = now;
        l->answers = 0;
    }
    if (size < RESET_MIN || l->answers >= RESETS_SECOND)
        return;
    l->answers++;
    ngtcp2_cid_init(&cid, packet->p + 1, QUIC_CID_LISTENER);
    if (ngtcp2_crypto_generate_stateless_reset_token(token, l->secrets.reset, sizeof(l->secrets.reset), &cid) != 0)
        return;
    random_bytes(random, sizeof(random));
    answer(l, packet, p, ngtcp2_pkt_write_stateless_reset(p, sizeof(p), token, random, size - sizeof(token)));
}

void quic_answer_retry(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_pkt_hd *head)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN], p[256];
    ngtcp2_cid scid = { .datalen = QUIC_CID_LISTENER };
    ngtcp2_ssize n;

    random_bytes(scid.data, scid.datalen);
    n = ngtcp2_crypto_generate_retry_token(token, l->secrets.token, sizeof(l->secrets.token), head->version,
                                           &packet->remote.any, packet->remote.len, &scid, &head->dcid,
                                           token_time());
    if (n > 0)
        answer(l, packet, p,
               ngtcp2_crypto_write_retry(p, sizeof(p), head->version, &head->scid, &scid, &head->dcid, token,
                                         (size_t)n));
}

void quic_answer_refused(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_pkt_hd *head)
{
    uint8_t p[NGTCP2_MAX_UDP_PAYLOAD_SIZE];

    answer(l, packet, p,
           ngtcp2_crypto_write_connection_close(p, sizeof(p), head->version, &head->scid, &head->dcid,
                                                NGTCP2_CONNECTION_REFUSED, NULL, 0));
}

void quic_give_token(struct quic_link *q)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];
    struct quic_secrets *secrets = &q->listener->secrets;
    const ngtcp2_addr *peer = &ngtcp2_conn_get_path(q->conn)->remote;
    ngtcp2_ssize n = ngtcp2_crypto_generate_regular_token(token, secrets->token, sizeof(secrets->token), peer->addr,
                                                          peer->addrlen, token_time());

    if (n > 0)
        ngtcp2_conn_submit_new_token(q->conn, token, (size_t)n);
}

void quic_check_token(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_pkt_hd *head,
                      struct quic_proof *ret)
{
    const struct quic_secrets *secrets = &l->secrets;
    const ngtcp2_vec *token = &head->token;

    *ret = (struct quic_proof){ 0 };
    if (token->len == 0)
        return;
    if (token->base[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY)
        ret->valid = ret->retried =
            ngtcp2_crypto_verify_retry_token(&ret->odcid, token->base, token->len, secrets->token,
                                             sizeof(secrets->token), head->version, &packet->remote.any,
                                             packet->remote.len, &head->dcid, RETRY_VALID, token_time()) == 0;
    else if (token->base[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR)
        ret->valid = ngtcp2_crypto_verify_regular_token(token->base, token->len, secrets->token,
                                                        sizeof(secrets->token), &packet->remote.any,
                                                        packet->remote.len, TOKEN_VALID, token_time()) == 0;
}
