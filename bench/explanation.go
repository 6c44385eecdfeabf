package main

const explanation = `
What the floors are. *Canned*: a bare Go net/http server that answers a fixed body of the same size, in a process of its own,
asked by the same signing client; it verifies nothing and stores nothing. *Canned + fsync*: the same, but each answer waits for
a 1.5 kB append and fdatasync that waiting requests share. *fork+exec*: ` + "`/bin/true`" + ` started and waited for. *Bare sandbox*: the
sandbox driver alone, called in process: start, end, status. *Pipe*: the same Python script printing into a pipe that the
benchmark reads. *write()*: the same bytes appended to a file in the same batches, no format, no index, no fsync.
*Plain files*: a bare Go net/http server that keeps each object as a file and answers a PUT after fsync of file and folder; it
looks at no signature and no checksum, and its listing is always the same text. *Plain copy*: objects read from that server into
a folder and sent back to it, eight at a time. versitygw keeps plain files too and does not
fsync; Clary's PUT is on disk when it is answered.

Clary verifies each signature and asks its policy engine before it answers, and a create is on disk (fsync, shared by those who
wait) when it is answered. The creates here name an image that no recipe knows, so that the figure is the API's and not that of
thousands of sandboxes: reconciling them to Failed runs meanwhile and is part of the load. Job times are a client's: from
sending CreateTrainingJob to the Describe that says Completed, polled every 2 ms, with the runtime already built.
`
