// The run as systemd-machined knows it (volt/model/steps.py, register-machine).
#ifndef VOLT_MACHINE_H
#define VOLT_MACHINE_H

#include <sys/signalfd.h>

#include "volt.h"

void machine_begin(struct context *context, pid_t sender);
int machine_connection(const struct context *context);
void machine_take(struct context *context);
bool machine_sends(const struct signalfd_siginfo *signal);

#endif
