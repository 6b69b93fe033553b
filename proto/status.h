/* proto/status.h - what a function returns, and the sentence that goes with a failure.
 *
 * The first function that notices a fault records one clear sentence (file, tensor, rank, value,
 * limit) in a slot of its own thread and returns a code; every caller only passes the code on.
 * Codes are the exit codes of the program (sysexits.h where one fits), so no table translates them.
 * Outputs of a function are written only when it returns SHOAL_OK. */
#ifndef SHOAL_PROTO_STATUS_H
#define SHOAL_PROTO_STATUS_H

typedef enum {
    SHOAL_OK = 0,
    SHOAL_ERR_NOFIT = 2,        /* the plan does not fit the memory given               */
    SHOAL_ERR_USAGE = 64,       /* wrong option, wrong combination                      */
    SHOAL_ERR_DATA = 65,        /* a file or message says something impossible          */
    SHOAL_ERR_NOTFOUND = 66,    /* a file or tensor that should be there is not         */
    SHOAL_ERR_UNAVAILABLE = 69, /* a peer, a device or a service is not there           */
    SHOAL_ERR_INTERNAL = 70,    /* a promise of our own code was broken                 */
    SHOAL_ERR_CREATE = 73,      /* an output cannot be created                          */
    SHOAL_ERR_IO = 74,          /* reading or writing failed                            */
    SHOAL_ERR_TEMPORARY = 75,   /* no memory, a deadline passed, a peer died: try again */
    SHOAL_ERR_CONFIG = 78,      /* configuration or fingerprint mismatch                */
} shoal_status;

#if defined(__GNUC__)
#define SHOAL_MUST_USE                __attribute__((warn_unused_result))
#define SHOAL_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#else
#define SHOAL_MUST_USE
#define SHOAL_PRINTF(fmt_at, args_at)
#endif

/* The longest recorded sentence, its NUL included; a longer one is cut. */
#define SHOAL_ERROR_MAX 1024

/* Make `text`, into which names out of files may have come, fit for a terminal: white space becomes
 * blanks, other control characters (0x7f and those of two bytes, too) become '?'. */
void shoal_make_printable(char *text);

/* Record the sentence in this thread's slot, printable, and return `code` (never SHOAL_OK). */
shoal_status shoal_fail(shoal_status code, const char *fmt, ...) SHOAL_PRINTF(2, 3);

/* Put "prefix: " in front of the recorded sentence and return `code`: for callers that know
 * something the first detector could not (which model, which rank). */
shoal_status shoal_fail_within(shoal_status code, const char *fmt, ...) SHOAL_PRINTF(2, 3);

/* The sentence recorded last by this thread; "" if none. Valid until the next shoal_fail. */
const char *shoal_error_text(void);

/* Empty this thread's slot. */
void shoal_error_clear(void);

/* A short constant name of the code ("bad data"), for logs and JSON. */
const char *shoal_status_name(shoal_status code);

/* Forward a failure unchanged. */
#define SHOAL_TRY(expr)                                                                            \
    do {                                                                                           \
        const shoal_status try_status_ = (expr);                                                   \
        if (try_status_ != SHOAL_OK)                                                               \
            return try_status_;                                                                    \
    } while (0)

/* Forward a failure to an unwind label; needs a local `shoal_status st`. */
#define SHOAL_TRY_GOTO(expr, label)                                                                \
    do {                                                                                           \
        st = (expr);                                                                               \
        if (st != SHOAL_OK)                                                                        \
            goto label;                                                                            \
    } while (0)

#endif
