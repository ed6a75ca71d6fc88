package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// How often a blob is begun or gone on with while nothing worthwhile comes, and
// how much is worthwhile, in bytes.
const (
	maxTries   = 5
	worthwhile = 1 << 20
)

// firstWait is how long brig waits before the second try; each later one waits
// twice as long.
const firstWait = 200 * time.Millisecond

// permanentError is one that another try would not mend.
type permanentError struct{ err error }

// Error implements error.
func (p *permanentError) Error() string { return p.err.Error() }

// Unwrap gives the cause.
func (p *permanentError) Unwrap() error { return p.err }

func permanent(format string, a ...any) error { return &permanentError{fmt.Errorf(format, a...)} }

// download is a blob on its way.
type download struct {
	session *session
	partial *image.Partial
	want    image.Descriptor
	report  func(done int64)

	sum     hash.Hash
	have    int64
	earlier bool // some of it was there before this process came
}

// blob fetches a blob into the work directory: its length and digest are those
// that want says.
func (s *session) blob(ctx context.Context, store *image.Store, w *image.Work, want image.Descriptor, report func(done int64)) error {
	p, err := store.Partial(w, want.Digest)
	if err != nil {
		return err
	}
	d := &download{session: s, partial: p, want: want, report: report, sum: sha256.New()}
	err = d.fetch(ctx)
	if err == nil {
		err = p.Finish(w, want.Digest)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errors.Join(err, p.Remove()) // it stands in the way of what would make room
	}
	return errors.Join(err, p.Close())
}

// fetch gets the whole, in as many parts as it takes, and checks it.
func (d *download) fetch(ctx context.Context) error {
	if err := d.reread(ctx); err != nil {
		return err
	}
	pause := firstWait
	if p := d.session.client.pause; p > 0 {
		pause = p
	}
	wait := pause
	for try := 1; ; try++ {
		before := d.have
		err := d.part(ctx)
		if err == nil {
			err = d.check()
		}
		if err == nil {
			return nil
		}
		var final *permanentError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &final) || !worthTrying(err):
			return err
		case d.have-before >= worthwhile:
			try, wait = 0, pause
		case try >= maxTries:
			return fmt.Errorf("%w, after %d tries", err, try)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wait *= 2
	}
}

// reread takes in what an earlier process left.
func (d *download) reread(ctx context.Context) error {
	info, err := d.partial.File.Stat()
	if err != nil {
		return err
	}
	if info.Size() > d.want.Size {
		return d.restart()
	}
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := d.partial.File.Read(buf)
		d.sum.Write(buf[:n])
		d.have += int64(n)
		if errors.Is(err, io.EOF) {
			d.earlier = d.have > 0
			d.report(d.have)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// restart begins anew.
func (d *download) restart() error {
	d.sum.Reset()
	d.have, d.earlier = 0, false
	d.report(0)
	if err := d.partial.File.Truncate(0); err != nil {
		return err
	}
	_, err := d.partial.File.Seek(0, io.SeekStart)
	return err
}

// check compares the digest of the whole. What an earlier process left may be
// damaged; then all is fetched once more.
func (d *download) check() error {
	got := image.SumDigest(d.sum.Sum(nil))
	if got == d.want.Digest {
		return nil
	}
	earlier := d.earlier
	if err := d.restart(); err != nil {
		return err
	}
	err := fmt.Errorf("blob %s: what came has the digest %s", d.want.Digest, got)
	if earlier {
		return err
	}
	return &permanentError{err}
}

// part gets what is missing, or as much of it as comes.
func (d *download) part(ctx context.Context) error {
	if d.have == d.want.Size {
		return nil
	}
	header := http.Header{}
	if d.have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
	}
	resp, err := d.session.get(ctx, "/blobs/"+string(d.want.Digest), header, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		if d.have == 0 {
			return permanent("blob %s: the registry refuses a range that was not asked for", d.want.Digest)
		}
		if err := d.restart(); err != nil {
			return err
		}
		return fmt.Errorf("blob %s: the registry cannot go on from where it stopped", d.want.Digest)
	case resp.StatusCode == http.StatusPartialContent:
		if err := checkRange(resp.Header.Get("Content-Range"), d.have, d.want.Size); err != nil {
			return permanent("blob %s: %w", d.want.Digest, err)
		}
	case d.have > 0: // it sends all of it, whatever it was asked for
		if err := d.restart(); err != nil {
			return err
		}
	}
	if left := d.want.Size - d.have; resp.ContentLength >= 0 && resp.ContentLength != left {
		return permanent("blob %s: the registry sends %d bytes where the manifest says %d", d.want.Digest, resp.ContentLength, left)
	}
	return d.copy(ctx, resp.Body)
}

// copy writes a body to the end of what is there.
func (d *download) copy(ctx context.Context, body io.Reader) error {
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := body.Read(buf)
		if int64(n) > d.want.Size-d.have {
			return permanent("blob %s: the registry sends more than the %d bytes that the manifest says", d.want.Digest, d.want.Size)
		}
		if _, werr := d.partial.File.Write(buf[:n]); werr != nil {
			return &permanentError{fmt.Errorf("blob %s: %w", d.want.Digest, werr)}
		}
		d.sum.Write(buf[:n])
		d.have += int64(n)
		d.report(d.have)
		if errors.Is(err, io.EOF) {
			if d.have < d.want.Size {
				return fmt.Errorf("blob %s: the connection ended after %d of %d bytes", d.want.Digest, d.have, d.want.Size)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("blob %s: after %d of %d bytes: %w", d.want.Digest, d.have, d.want.Size, err)
		}
	}
	return context.Cause(ctx)
}

// checkRange compares "bytes FIRST-LAST/SIZE" (RFC 9110, 14.4) with what was
// asked for.
func checkRange(got string, first, size int64) error {
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	rest, ok := strings.CutPrefix(got, "bytes ")
	span, whole, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 || number(from) != first || number(to) != size-1 || whole != "*" && number(whole) != size {
		return fmt.Errorf("the registry sends the range %q where bytes %d-%d/%d were asked for", clip(got, 60), first, size-1, size)
	}
	return nil
}
