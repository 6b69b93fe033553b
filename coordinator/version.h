/* coordinator/version.h - the version of the program, said once. */
#ifndef SHOAL_COORDINATOR_VERSION_H
#define SHOAL_COORDINATOR_VERSION_H

#define SHOAL_VERSION "0.1.0"

#endif
