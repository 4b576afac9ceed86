#include "scratch.h"

char net_scratch[NET_SCRATCH];
