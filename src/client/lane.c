#include "lane.h"

#include "internal.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#define LANES_IDLE_MAX 8
#define EVENTS_MAX     8

/* --- what curl waits for --- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *known)
{
    struct lane *lane = data;
    struct epoll_event event = { .data.fd = fd };

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(lane->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (known && epoll_ctl(lane->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    /* Not known, or closed in between and the number used again, of which epoll knows nothing. */
    curl_multi_assign(lane->multi, fd, lane);
    return epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* A time of zero would disarm it. */
static int on_timer(CURLM *multi, long ms, void *data)
{
    struct lane *lane = data;
    struct itimerspec when = { 0 };

    (void)multi;
    if (ms >= 0) {
        when.it_value.tv_sec = ms / 1000;
        when.it_value.tv_nsec = ms % 1000 * 1000000 + (ms == 0);
    }
    return timerfd_settime(lane->timer_fd, 0, &when, NULL);
}

/* --- lanes --- */

void lane_free(struct lane *lane)
{
    if (!lane)
        return;
    if (lane->easy)
        curl_easy_cleanup(lane->easy);
    if (lane->multi)
        curl_multi_cleanup(lane->multi);
    close_fd(&lane->timer_fd);
    close_fd(&lane->epoll_fd);
    free(lane);
}

static struct lane *lane_new(void)
{
    struct lane *lane = calloc(1, sizeof(*lane));
    struct epoll_event event = { .events = EPOLLIN };

    if (!lane)
        return NULL;
    lane->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    lane->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    lane->multi = curl_multi_init();
    lane->easy = curl_easy_init();
    event.data.fd = lane->timer_fd;
    if (lane->epoll_fd < 0 || lane->timer_fd < 0 || !lane->multi || !lane->easy ||
        epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, lane->timer_fd, &event) < 0) {
        lane_free(lane);
        return NULL;
    }
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    return lane;
}

struct lane *lane_take(struct berm_client *client, struct berm_problem *problem)
{
    struct lane *lane;

    client = client->root;
    pthread_mutex_lock(&client->lock);
    lane = client->idle;
    if (lane) {
        client->idle = lane->next;
        client->idle_count--;
    }
    pthread_mutex_unlock(&client->lock);
    if (!lane)
        lane = lane_new();
    if (!lane)
        problem_set(problem, BERM_PROBLEM_SYSTEM, errno ? errno : ENOMEM, "client");
    return lane;
}

void lane_give(struct berm_client *client, struct lane *lane)
{
    client = client->root;
    curl_easy_reset(lane->easy);
    pthread_mutex_lock(&client->lock);
    if (client->idle_count < LANES_IDLE_MAX) {
        lane->next = client->idle;
        client->idle = lane;
        client->idle_count++;
        lane = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    lane_free(lane);
}

/* --- the work --- */

static int act(struct lane *lane, const struct epoll_event *event)
{
    int mask = 0, running;
    uint64_t times;

    if (event->data.fd == lane->timer_fd) {
        if (read(lane->timer_fd, &times, sizeof(times)) < 0)
            return 0; /* set anew since */
        return curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running) == CURLM_OK ? 0 : -1;
    }
    if (event->events & EPOLLIN)
        mask |= CURL_CSELECT_IN;
    if (event->events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (event->events & (EPOLLERR | EPOLLHUP))
        mask |= CURL_CSELECT_ERR;
    return curl_multi_socket_action(lane->multi, event->data.fd, mask, &running) == CURLM_OK ? 0 : -1;
}

int lane_step(struct lane *lane)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(lane->epoll_fd, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++)
        if (act(lane, &events[i]) < 0)
            return -1;
    return 0;
}
