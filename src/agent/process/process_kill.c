#include "process_kill.h"

#include "agent/agent.h"
#include "agent/child/procfs.h"
#include "base/sys.h"
#include "process_mark.h"
#include "process_run.h"
#include "process_tree.h"

#include <signal.h>

#define GRACE_MS   5000
#define GIVE_UP_MS 5000
#define ROUNDS_MAX 16 /* of a tree that forks faster than it is killed; its limit of processes ends that */

enum { KILL_ASKED, KILL_FORCED, KILL_OVER };

struct kill_member {
    struct kill_member *next;
    struct process_kill *kill;
    pid_t pid;
    int pidfd; /* -EBADF once it is gone */
    struct loop_io io;
};

struct process_kill {
    struct process_run *run;
    struct loop *loop;
    pid_t root;
    uint64_t mark;
    bool leads_session;
    int strongest;
    uint8_t stage;
    struct loop_timer timer;
    struct kill_member *members;
    size_t alive;
    struct loop_deferred free_later;
};

bool process_kill_over(const struct process_kill *k)
{
    return k->stage == KILL_OVER;
}

int process_kill_signal(const struct process_kill *k)
{
    return k->strongest;
}

/* --- members --- */

static void let_go(struct kill_member *member)
{
    if (member->pidfd < 0)
        return;
    loop_io_remove(member->kill->loop, &member->io);
    close_fd(&member->pidfd);
    member->kill->alive--;
}

static void on_gone(struct loop_io *io, uint32_t events);

static struct kill_member *find_member(const struct process_kill *k, pid_t pid)
{
    for (struct kill_member *member = k->members; member; member = member->next)
        if (member->pidfd >= 0 && member->pid == pid)
            return member;
    return NULL;
}

/* NULL if it is gone already, or cannot be watched; then it gets its signal all the same. */
static struct kill_member *add_member(struct process_kill *k, pid_t pid)
{
    struct kill_member *member = calloc(1, sizeof(*member));

    if (!member)
        return NULL;
    member->kill = k;
    member->pid = pid;
    member->pidfd = pidfd_open_pid(pid);
    if (member->pidfd < 0 || loop_io_add(k->loop, &member->io, member->pidfd, EPOLLIN, on_gone) < 0) {
        close_fd(&member->pidfd);
        free(member);
        return NULL;
    }
    member->next = k->members;
    k->members = member;
    k->alive++;
    return member;
}

/* --- the tree --- */

/* The session that the process led, also after its own end. */
static pid_t session_of(const struct child *child, pid_t root, bool leads)
{
    bool reaped = !child || child->exited;

    /* A process of that number is another one: then the session had died out. */
    return leads && !(reaped && kill(root, 0) == 0) ? root : 0;
}

/* The process's own number while that is its own. */
static size_t root_of(const struct process_run *run, pid_t *ret)
{
    if (!run->child || run->child->exited)
        return 0;
    *ret = run->child->pid;
    return 1;
}

/* The tree of what is left: of the process, and of members whose way up to it is gone. */
static size_t *tree_of(const struct process_kill *k, const struct proc_snapshot *snapshot, size_t *ret_count)
{
    pid_t *roots = calloc(k->alive + 1, sizeof(*roots));
    struct proc_wanted wanted = { .session = session_of(k->run->child, k->root, k->leads_session),
                                  .mark = k->mark };
    size_t count, *tree;

    *ret_count = 0;
    if (!roots)
        return NULL;
    count = root_of(k->run, roots);
    for (const struct kill_member *member = k->members; member; member = member->next)
        if (member->pidfd >= 0)
            roots[count++] = member->pid;
    wanted.roots = roots;
    wanted.root_count = count;
    tree = proc_snapshot_tree(snapshot, &wanted, ret_count);
    free(roots);
    return tree;
}

static size_t signal_tree(struct process_kill *k, int signo, const struct proc_snapshot *snapshot)
{
    size_t count, fresh = 0;
    size_t *tree = tree_of(k, snapshot, &count);

    while (tree && count-- > 0) {
        pid_t pid = snapshot->entries[tree[count]].pid;
        struct kill_member *member = find_member(k, pid);
        if (!member) {
            member = add_member(k, pid);
            fresh++;
        }
        if (member)
            (void)pidfd_signal(member->pidfd, signo);
        else
            (void)kill(pid, signo);
    }
    free(tree);
    return fresh;
}

/* Reads /proc unless `shared` is what it says. How many are new; without memory the root alone gets the signal. */
static size_t sweep(struct process_kill *k, int signo, const struct proc_snapshot *shared)
{
    struct proc_snapshot own = { 0 };
    size_t fresh = 0;

    k->strongest = signo == SIGKILL ? SIGKILL : k->strongest;
    if (shared || proc_snapshot_take(&own) == 0)
        fresh = signal_tree(k, signo, shared ? shared : &own);
    else if (k->run->child)
        child_signal_group(k->run->child, signo);
    proc_snapshot_free(&own);
    return fresh;
}

/* --- the steps --- */

static void finish(struct process_kill *k)
{
    struct process_run *run = k->run;

    k->stage = KILL_OVER;
    loop_timer_stop(k->loop, &k->timer);
    for (struct kill_member *member = k->members; member; member = member->next)
        let_go(member);
    if (run->child)
        child_drop_output(run->child); /* whoever still holds it does not belong to the process */
    else
        process_maybe_end(run);
}

static void force(struct process_kill *k, const struct proc_snapshot *shared)
{
    unsigned rounds = 0;

    k->stage = KILL_FORCED;
    while (sweep(k, SIGKILL, rounds == 0 ? shared : NULL) > 0 && ++rounds < ROUNDS_MAX)
        ;
    if (k->alive == 0 || loop_timer_start(k->loop, &k->timer, GIVE_UP_MS) < 0)
        finish(k);
}

static void on_timer(struct loop_timer *timer)
{
    struct process_kill *k = container_of(timer, struct process_kill, timer);

    if (k->stage == KILL_ASKED)
        force(k, NULL);
    else
        finish(k);
}

/* Whether somebody who was not there when the tree was read is left of a session that is the process's own. */
static bool group_lives_on(const struct process_kill *k)
{
    return session_of(k->run->child, k->root, k->leads_session) > 0 && kill(-k->root, 0) == 0;
}

/*
 * The same for those who had left the group, too. Whoever is left of a tree whose known members are gone has lost
 * its parents by that, and so is our own child.
 */
static bool orphan_lives_on(const struct process_kill *k)
{
    struct pid_list children = { 0 };
    bool found = false;

    if (!proc_tells_children())
        return true; /* only a look at all of /proc can tell */
    (void)proc_children(getpid(), &children);
    for (size_t i = 0; i < children.count && !found; i++)
        found = !child_is_known(k->run->process->agent, children.pids[i]) &&
                process_mark_of(children.pids[i]) == k->mark;
    pid_list_free(&children);
    return found;
}

static void on_gone(struct loop_io *io, uint32_t events)
{
    struct kill_member *member = container_of(io, struct kill_member, io);
    struct process_kill *k = member->kill;

    (void)events;
    let_go(member);
    if (k->alive > 0)
        return;
    process_refresh(k->run->process->agent); /* a zombie would count as a member of its group */
    if (group_lives_on(k) || orphan_lives_on(k))
        (void)sweep(k, k->strongest, NULL);
    if (k->alive == 0)
        finish(k);
}

/* --- from outside --- */

static void begin(struct process_run *run, int signo, const struct proc_snapshot *shared)
{
    struct process_kill *k = calloc(1, sizeof(*k));

    if (!k) {
        child_signal_group(run->child, SIGKILL); /* the least that can be done without memory */
        return;
    }
    k->run = run;
    k->loop = run->process->agent->loop;
    k->root = run->child->pid;
    k->mark = run->mark;
    k->leads_session = run->pair == NULL;
    k->strongest = signo;
    loop_timer_init(&k->timer, on_timer);
    run->kill = k;
    if (signo == SIGKILL) {
        force(k, shared);
        return;
    }
    (void)sweep(k, signo, shared);
    if (k->alive == 0 || loop_timer_start(k->loop, &k->timer, GRACE_MS) < 0)
        force(k, NULL);
}

static void stop_metered(struct process_run *run, int signo)
{
    run->stopped = true;
    if (signo == SIGKILL)
        child_signal_group(run->child, SIGKILL);
    else
        child_stop_by(run->child, signo);
}

static void kill_with(struct process *process, int signo, const struct proc_snapshot *shared)
{
    struct process_run *run = process->run;

    if (!run)
        return;
    if (run->child && run->child->metered)
        stop_metered(run, signo);
    else if (run->arriving)
        run->kill_signal = signo;
    else if (!run->kill)
        begin(run, signo, shared);
    else if (signo == SIGKILL && run->kill->stage == KILL_ASKED)
        force(run->kill, NULL);
}

void process_kill(struct process *process, int signo)
{
    kill_with(process, signo, NULL);
}

static bool in_session(const struct process *process, const char *session_id)
{
    return !session_id || (process->session_id && strcmp(process->session_id, session_id) == 0);
}

size_t process_kill_session(struct agent *agent, const char *session_id, int signo)
{
    struct process_table *table = &agent->processes;
    struct process **victims = calloc(MAX(table->running.count, (size_t)1), sizeof(struct process *));
    struct proc_snapshot snapshot = { 0 };
    size_t count = 0;

    for (struct process *process = table->running.first; victims && process; process = process->next)
        if (in_session(process, session_id))
            victims[count++] = process_ref(process);
    if (count > 0 && proc_snapshot_take(&snapshot) == 0)
        for (size_t i = 0; i < count; i++)
            kill_with(victims[i], signo, &snapshot);
    for (size_t i = 0; i < count; i++)
        process_unref(victims[i]);
    proc_snapshot_free(&snapshot);
    free(victims);
    return count;
}

size_t process_signal(struct process *process, int signo)
{
    const struct process_run *run = process->run;
    struct proc_snapshot snapshot;
    struct proc_wanted wanted = { 0 };
    size_t *tree, count = 0, reached = 0;
    pid_t root = 0;

    if (!run || !run->child || proc_snapshot_take(&snapshot) < 0)
        return 0;
    wanted.roots = &root;
    wanted.root_count = root_of(run, &root);
    wanted.session = session_of(run->child, run->child->pid, run->pair == NULL);
    wanted.mark = run->mark;
    tree = proc_snapshot_tree(&snapshot, &wanted, &count);
    while (tree && count-- > 0) {
        pid_t pid = snapshot.entries[tree[count]].pid;
        bool is_keeper = run->child->metered && pid == root; /* which would pass it on once more */
        if (!is_keeper && kill(pid, signo) == 0)
            reached++;
    }
    free(tree);
    proc_snapshot_free(&snapshot);
    return reached;
}

static void free_kill(struct loop_deferred *deferred)
{
    struct process_kill *k = container_of(deferred, struct process_kill, free_later);

    while (k->members) {
        struct kill_member *member = k->members;
        k->members = member->next;
        free(member);
    }
    free(k);
}

void process_kill_free(struct process_kill *k)
{
    if (!k)
        return;
    k->free_later.callback = free_kill;
    loop_defer(k->loop, &k->free_later);
}
