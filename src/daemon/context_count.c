#include "daemon/context_count.h"

#include "base/json.h"
#include "base/spawn_wire.h"
#include "daemon/agent_call.h"
#include "daemon/daemon.h"

/* A question under way; frees itself. */
struct question {
    struct daemon *daemon;
    struct agent_link *link;
    struct agent_call *call;
    char image[IMAGE_NAME_BYTES];
};

static void on_answer(struct question *question, struct str text)
{
    const struct json *answer = NULL;
    struct arena arena;

    arena_init(&arena, 65536);
    if (json_parse(&arena, text, 2, &answer, NULL) == 0 && answer->type == JSON_OBJECT)
        metrics_contexts_told(&question->daemon->metrics, question->image, answer);
    arena_free(&arena);
}

static void free_question(struct question *question)
{
    agent_link_unref(question->link);
    free(question);
}

static void on_done(const struct berm_error *err, void *data)
{
    struct question *question = data;

    if (err->code == BERM_OK)
        on_answer(question, agent_call_answer(question->call));
    free_question(question);
}

void context_count_ask(struct sandbox *sandbox)
{
    struct question *question = sandbox->link ? calloc(1, sizeof(*question)) : NULL;
    struct berm_error err;

    if (!question)
        return;
    question->daemon = sandbox->daemon;
    question->link = agent_link_ref(sandbox->link);
    snprintf(question->image, sizeof(question->image), "%s", sandbox->row.image);
    question->call = agent_call_start(question->link, "POST", AGENT_CONTEXTS_UNTOLD, (struct str){ NULL, 0 }, NULL,
                                      on_done, question, &err);
    if (!question->call)
        free_question(question);
}
