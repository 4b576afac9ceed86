/* routes.h - the handlers of the route table. */
#pragma once

#include "request.h"

void handle_greeting(struct request *rq);
void handle_ping(struct request *rq);
void handle_version(struct request *rq);
void handle_commands(struct request *rq);
void handle_configure(struct request *rq);
void handle_directories(struct request *rq);
void handle_supervise(struct request *rq);
void handle_signal(struct request *rq);
void handle_logs(struct request *rq);
void handle_logs_told(struct request *rq);
void handle_command_input(struct request *rq);
/* The value of AGENT_ENVIRONMENT_FIELD. 0, or -1 and the environment is as it was. */
int configure_by_field(struct agent *agent, struct str value);

void handle_ws(struct request *rq);
void handle_pty(struct request *rq);
/* 503, which clients take for "try again". */
void reply_upgrade_failed(struct request *rq);

void handle_session_create(struct request *rq);
void handle_session_list(struct request *rq);
void handle_session_delete(struct request *rq);

void handle_execute(struct request *rq);
void handle_exec_stream(struct request *rq);
void handle_exec_resize(struct request *rq);
void handle_exec_cancel(struct request *rq);
void handle_execute_stream(struct request *rq);

void handle_process_start(struct request *rq);
void handle_process_list(struct request *rq);
void handle_process_get(struct request *rq);
void handle_process_logs(struct request *rq);
void handle_process_stream(struct request *rq);
void handle_process_kill(struct request *rq);
void handle_process_kill_all(struct request *rq);
void handle_process_signal(struct request *rq);
void handle_process_stdin(struct request *rq);

void handle_read(struct request *rq);
void handle_read_stream(struct request *rq);
void handle_write(struct request *rq);
void handle_delete(struct request *rq);
void handle_mkdir(struct request *rq);
void handle_exists(struct request *rq);
void handle_rename(struct request *rq);
void handle_move(struct request *rq);
void handle_list_files(struct request *rq);
void handle_stat(struct request *rq);

void handle_file_get(struct request *rq);
void handle_file_put(struct request *rq);
void handle_raw_read(struct request *rq);
void handle_raw_write(struct request *rq);
void handle_archive_read(struct request *rq);
void handle_archive_write(struct request *rq);

void handle_watch(struct request *rq);
void handle_watch_check(struct request *rq);

void handle_git_checkout(struct request *rq);
void handle_port_watch(struct request *rq);

void handle_backup_create(struct request *rq);
void handle_backup_upload_parts(struct request *rq);
void handle_backup_restore(struct request *rq);

void handle_interpreter_health(struct request *rq);
void handle_interpreter_stats(struct request *rq);
void handle_interpreter_untold(struct request *rq);
void handle_context_create(struct request *rq);
void handle_context_list(struct request *rq);
void handle_context_delete(struct request *rq);
void handle_context_interrupt(struct request *rq);
void handle_execute_code(struct request *rq);
