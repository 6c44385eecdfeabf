// Package dataplane carries the traffic of notebook instances: it mints the
// addresses that open one, keeps the sessions of the browsers that came in by
// them, and passes what such a session asks to the JupyterLab in the task. Who
// is behind a session, and whether its policies still let it in, is asked again
// and again while it lasts.
//
// It must never hand a notebook the cookie or the credentials that let somebody
// in, never trust what the task answers, and never let a page of another origin
// speak for a session. What runs in the task belongs to whoever may open it and
// is hostile to everybody else. Start at Plane.ServeHTTP.
package dataplane
