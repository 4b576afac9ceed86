/*
 * quic.h - what the files of the QUIC transport have in common. They are the only ones that include ngtcp2, written
 * for 0.12 as in Debian 12; docs/decisions/0023 has what another version changes.
 *
 *   quic_link.c     a connection: its life, timer, what its end means
 *   quic_stream.c   its streams, and what the library says about them
 *   quic_write.c    from streams to packets to the socket
 *   quic_session.c  TLS, and the secrets that tokens are made with
 *   quic_dial.c     the dialler: its socket, and another one when its address changes
 *   quic_listen.c   the listener: one socket for all, whose packet is whose
 *   quic_answer.c   what the listener says to packets that are nobody's, without keeping anything
 *
 * On the wire: ALPN "berm-link/1"; bidirectional streams, begun by the listener, carry plain bytes. Each side may
 * begin one unidirectional stream, of which each byte is a word: QUIC_DRAIN is the only one.
 *
 * Attacks: nothing is believed that is not decrypted. A packet that is none of a link's is worth at most one answer
 * that is smaller than itself; a handshake costs memory only after core_admit(), and a proof of address (Retry)
 * once some are under way. What a peer can make us keep is bounded by the windows, the streams and QUIC_HELD_MAX.
 */
#pragma once

#include "base/hash.h"
#include "base/list.h"
#include "link/core.h"
#include "link/credentials.h"
#include "link/stream.h"
#include "link/transport.h"
#include "link/udp.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#define QUIC_CID_LISTENER 16 /* random, and long enough that nobody meets another's by trying */
#define QUIC_CID_DIALLER  8
#define QUIC_CIDS         7 /* that one side may hold of the other: each change of address takes one */
#define QUIC_PACKET_MAX   1452
/*
 * Measured through a relay with 25 ms each way: at 2 % loss BBR carries 12 times what cubic does (4.5 against 0.4
 * MB/s), and as much without loss on 100 and 200 Mbit/s. The library's cubic also bounds its window by the smallest
 * round trip ever seen, which on a local network is much less than that of a busy machine.
 */
#define QUIC_CONGESTION NGTCP2_CC_ALGO_BBR
#define QUIC_DRAIN      1
#define QUIC_HELD_MAX   LINK_WINDOW /* of streams that were given up and the far side does not let go */

/* Codes that the application gives to ends of streams; of a connection it is the enum link_reason. */
enum { QUIC_STREAM_STOP = 0, QUIC_STREAM_RESET = 1 };

/* A socket that links send through. */
struct quic_port {
    struct udp_socket socket;
    struct loop_io io;
    void (*no_way)(struct quic_port *port); /* a packet could not be sent at all; may be NULL */
};

struct quic_link {
    struct link link; /* first: quic_link_of() */
    struct quic_port *port;
    ngtcp2_conn *conn;
    ngtcp2_crypto_conn_ref conn_ref; /* what ngtcp2's helper finds at the session */
    gnutls_session_t session;
    struct credentials *credentials; /* the session's */
    struct loop_timer timer;
    struct loop_deferred turn;
    uint64_t heard_ms;
    bool up, stopped;
    bool forgotten;              /* by the far side: stateless reset */
    enum link_reason misfortune; /* of a callback that has failed, 0 if none */
    const char *misfortune_text;

    struct list streams; /* all */
    struct list sending; /* of these, those with something to send; each sends a packet in its turn */
    int64_t control;     /* the stream with our QUIC_DRAIN; -1: none */
    bool control_sent;
    size_t held; /* bytes of streams that were given up */

    struct quic_dialler *dialler; /* or */
    struct quic_listener *listener;
    struct list cids; /* listener: struct quic_cid */
};

struct quic_stream {
    struct list all, sending; /* in the link's lists */
    struct quic_link *owner;
    struct stream *stream; /* NULL: over for the core, and lives until it is for the library */
    int64_t id;
    bool stopped;       /* we asked the far side to stop: its reset is the answer */
    struct blocks held; /* what the library may still look at although it is over for the core */
};

static inline struct quic_link *quic_link_of(struct link *link)
{
    return container_of(link, struct quic_link, link);
}

/* --- quic_link.c --- */

/* Zeroed memory with everything but conn and session; the port is borrowed. */
void quic_link_init(struct quic_link *q, struct core *core, struct quic_port *port);
/* Of one that quic_link_init() was not called for: it was never a link. */
void quic_link_discard(struct quic_link *q);
/* A packet for it. May end the link. */
void quic_link_read(struct quic_link *q, const struct udp_packet *packet);
/* What has changed is written in this turn of the loop. */
void quic_link_touch(struct quic_link *q);
/* The library (NGTCP2_ERR_...) has given the connection up. */
void quic_link_fail(struct quic_link *q, int error);
/* Stops it without a goodbye and tells the core, for its log, why. */
void quic_link_lose(struct quic_link *q, enum link_reason reason, const char *text);
void quic_link_arm(struct quic_link *q); /* its timer, after everything that the library was told */
/* What both roles tell the library, and the far side, of themselves. */
void quic_settings(const struct quic_link *q, ngtcp2_settings *settings, ngtcp2_transport_params *params);
/* The addresses are borrowed. */
void quic_path(ngtcp2_path *path, const struct link_address *local, const struct link_address *remote);
extern const ngtcp2_callbacks quic_callbacks;

/* --- quic_stream.c --- */

/* The operations of struct transport_ops, whose contract is theirs. */
int quic_open(struct link *link, struct stream *stream);
void quic_wake(struct link *link, struct stream *stream);
void quic_consumed(struct link *link, struct stream *stream, size_t n);
void quic_stop(struct link *link, struct stream *stream);
void quic_reset(struct link *link, struct stream *stream);
void quic_drain(struct link *link);
void quic_streams_free(struct quic_link *q);
void quic_stream_unwanted(struct quic_stream *s); /* the library says that the far side takes no more */

/* For quic_callbacks: 0, or NGTCP2_ERR_CALLBACK_FAILURE with the link's `misfortune`. */
int quic_on_stream_open(ngtcp2_conn *conn, int64_t id, void *owner);
int quic_on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *p, size_t n,
                        void *owner, void *stream);
int quic_on_stream_acked(ngtcp2_conn *conn, int64_t id, uint64_t offset, uint64_t n, void *owner, void *stream);
int quic_on_stream_reset(ngtcp2_conn *conn, int64_t id, uint64_t size, uint64_t code, void *owner, void *stream);
int quic_on_stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t code, void *owner, void *stream);
int quic_on_stream_window(ngtcp2_conn *conn, int64_t id, uint64_t max, void *owner, void *stream);

/* --- quic_write.c --- */

/* Writes what may be written now. May end the link. */
void quic_write(struct quic_link *q);
/* One packet besides all others, now or never. */
void quic_write_close(struct quic_link *q, const ngtcp2_connection_close_error *why);

/* --- quic_session.c --- */

/* `host`: whom the certificate has to be for; NULL: we are the listener. 0 or -1. */
int quic_session_init(struct quic_link *q, struct credentials *credentials, const char *host);

/* Derived from the certificate's key, so that they are the same after a restart. */
struct quic_secrets {
    uint8_t reset[32], token[32];
};

/* 0, or -1. */
int quic_secrets_derive(struct quic_secrets *secrets, const struct credentials *credentials);

/* --- quic_dial.c --- */

/* The listener's token, copied for the next link of this program. */
void quic_keep_token(const uint8_t *p, size_t n);
/* No packet comes to it or leaves it any more. */
void quic_dialler_stop(struct quic_dialler *dialler);

/* --- quic_listen.c --- */

struct quic_cid {
    struct hash_node node;
    struct list of_link;
    struct quic_link *owner;
    ngtcp2_cid cid;
};

struct quic_listener {
    struct core *core;
    struct quic_port port;
    struct hash_table cids;
    struct credentials *secrets_of; /* the ones that the secrets are derived from */
    struct quic_secrets secrets;
    uint64_t answers_ms;
    unsigned answers; /* in this second */
};

/* A random id under which packets find the link, with the token that proves a reset of it. -1 without memory. */
int quic_cid_new(struct quic_link *q, ngtcp2_cid *cid, uint8_t *reset_token);
void quic_cid_forget(struct quic_link *q, const ngtcp2_cid *cid);
void quic_cids_forget(struct quic_link *q); /* all of the link's */

/* --- quic_answer.c --- */

/* What an Initial's token proves. */
struct quic_proof {
    bool valid;
    bool retried;     /* it is from our Retry: */
    ngtcp2_cid odcid; /* to a packet with this destination */
};

/* At most one packet each, smaller than the one that it answers; nothing is kept. */
void quic_answer_version(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_version_cid *ids);
void quic_answer_reset(struct quic_listener *l, const struct udp_packet *packet);
void quic_answer_retry(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_pkt_hd *head);
void quic_answer_refused(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_pkt_hd *head);
void quic_give_token(struct quic_link *q); /* with which the peer proves its address the next time */
void quic_check_token(struct quic_listener *l, const struct udp_packet *packet, const ngtcp2_pkt_hd *head,
                      struct quic_proof *ret);
