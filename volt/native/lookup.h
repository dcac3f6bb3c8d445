// The plan cache: the launch plan that an entry keeps for this very command line, if all it depended on is as it was.
#ifndef VOLT_LOOKUP_H
#define VOLT_LOOKUP_H

#include "volt.h"

bool lookup(char **words, struct bytes *plan, int *file);
const char *own_folder(void); // the static program's

#endif
