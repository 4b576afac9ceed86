/*
 * udp.h - a UDP socket for many packets: several are read and written with one system call, as trains of one size
 * that the kernel (or the card) cuts and joins (GSO, GRO), with the addresses of both ends and the ECN bits.
 *
 * The buffers for reading belong to the process, which has one thread: what udp_read() gives is good until the next
 * one.
 */
#pragma once

#include "link/transport.h"

#define UDP_TRAIN_BYTES   65000 /* of one write: the kernel takes 64 KiB with the headers */
#define UDP_TRAIN_PACKETS 64

struct udp_socket {
    int fd;
    bool connected;
    bool no_trains; /* the kernel or the card has refused one */
    bool refused;   /* connected: nobody listened there when the last packet came (ICMP, so perhaps a lie) */
    struct link_address local;
};

struct udp_packet {
    const uint8_t *p;
    size_t n;
    struct link_address local, remote;
    uint8_t ecn;
};

/* Takes a bound or connected descriptor. 0, or -1 with errno and the descriptor closed. */
int udp_init(struct udp_socket *s, int fd);
void udp_close(struct udp_socket *s);
/* A socket that is connected to `remote`, as routes lead there now. A descriptor or -1. */
int udp_connect(const struct link_address *remote);

/* Reads up to UDP_READS trains and gives each packet to `each`. Whether there may be more. */
#define UDP_READS 8
bool udp_read(struct udp_socket *s, void (*each)(void *owner, const struct udp_packet *packet), void *owner);

/*
 * Sends `n` bytes as packets of `size` each, but for the last, which may be shorter. -1 with errno when there is no
 * way there. That a packet is too big for the network, or the socket full, is no error: it is lost as it would be
 * at any router, and QUIC sends slower or smaller ones.
 */
int udp_send(struct udp_socket *s, const struct link_address *local, const struct link_address *remote, uint8_t ecn,
             const uint8_t *p, size_t n, size_t size);

bool address_equal(const struct link_address *a, const struct link_address *b, bool with_port);
