/* What bermd says to berm-connector: nothing but its own messages is obeyed. */
#include "connector/connector.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rest of the program is not asked here. */
void run_begin(struct connector *connector, const struct connector_message *start)
{
    (void)connector, (void)start;
}

void run_stop(struct run *run, enum connector_reason reason)
{
    (void)run, (void)reason;
}

void run_note(struct connector *connector, uint32_t number)
{
    (void)connector, (void)number;
}

void runs_bury(struct connector *connector)
{
    (void)connector;
}

struct run *run_find(struct connector *connector, uint32_t number)
{
    (void)connector, (void)number;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct connector_message message;

    memset(&message, 0, sizeof(message));
    memcpy(&message, data, MIN(size, sizeof(message)));
    if (connector_accepts(&message, size) &&
        (size != sizeof(message) || message.run == 0 || strnlen(message.text, CONNECTOR_TEXT) == CONNECTOR_TEXT ||
         (message.type != CONNECTOR_START && message.type != CONNECTOR_STOP)))
        abort();
    return 0;
}
