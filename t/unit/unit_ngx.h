
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _UNIT_NGX_H_INCLUDED_
#define _UNIT_NGX_H_INCLUDED_

/*
 * What t/unit/unit_ngx.c leaves for a test: the format of the line that was
 * logged last.  ngx_current_msec and ngx_cached_time are the test's to set.
 */

extern char  unit_ngx_log[1024];


#endif /* _UNIT_NGX_H_INCLUDED_ */
