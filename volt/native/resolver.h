// How a launch and the keeper of a resolver know each other: names.c starts what keeper.c is.
#ifndef VOLT_RESOLVER_H
#define VOLT_RESOLVER_H

#include "volt.h"

#define KEEP_NAMES "keep-names" // volt keep-names PATH MARK UID GID ADDRESS FILES PORTS SCOPES FOLDER PROGRAM ARGUMENT…
#define KEEPER_WORDS 11         // that it has at least
#define KEEPER_LOCK 3           // the descriptor of PATH.resolver, which is locked
#define STATE_LENGTH 128        // bytes, and more than what stands there: PID MARK

_Noreturn void keep_names(struct context *context, char **words);

#endif
