package tail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// checkGlob says whether a glob can be used.
func checkGlob(g string) error {
	if _, err := filepath.Match(g, ""); err != nil || g == "" {
		return fmt.Errorf("logs: %q is no pattern for file names; it is to be like /var/log/app/*.log", g)
	}
	return nil
}

// A view is one look at some directories: each file is asked for once, however many globs and files want to know, and a
// directory is read only if it has changed since the last look.
type view struct {
	dirs  map[string]*listing // as read by this look or an earlier one
	read  map[string]bool     // the directories that this look has asked for
	stats map[string]found
	errs  map[string]error // of directories, but for those that do not exist
}

// relist is when a directory is read again although it seems not to have changed: not every file system keeps its time.
const relist = 30 * time.Second

// A listing is the names in a directory.
type listing struct {
	sighting
	names []string
}

// A found is what a path leads to.
type found struct {
	info
	link bool // by way of a symbolic link
}

func newView(dirs map[string]*listing) *view {
	return &view{dirs: dirs, read: map[string]bool{}, stats: map[string]found{}, errs: map[string]error{}}
}

// stat tells of the file at path; ok is false where there is none, or none that we may know of.
func (v *view) stat(path string) (i info, ok bool) {
	f, known := v.stats[path]
	if !known {
		i, err := lstat(path)
		if err == nil && i.link {
			f.link = true
			i, _ = stat(path)
		}
		f.info = i
		v.stats[path] = f
	}
	return f.info, f.ino != 0
}

// list gives the names in a directory, in no order.
func (v *view) list(dir string) []string {
	l := v.dirs[dir]
	if v.read[dir] {
		if l == nil {
			return nil
		}
		return l.names
	}
	v.read[dir] = true
	i, ok := v.stat(dir)
	if ok && l != nil && l.still(i) && time.Since(l.at) < relist {
		return l.names
	}
	delete(v.dirs, dir)
	looked := time.Now()
	names, err := readNames(dir)
	switch {
	case err == nil:
		v.dirs[dir] = &listing{sighting{i, looked}, names}
	case !errors.Is(err, fs.ErrNotExist):
		v.errs[dir] = err
	}
	return names
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// files gives the files in a directory that want is true of.
func (v *view) files(dir string, want func(name string) bool) []entry {
	var found []entry
	for _, name := range v.list(dir) {
		if !want(name) || compressed(name) {
			continue
		}
		path := filepath.Join(dir, name)
		if i, ok := v.stat(path); ok && i.regular {
			found = append(found, entry{path: path, info: i})
		}
	}
	return found
}

// expand gives the paths that glob matches, and the directories in which a change could alter that.
func (v *view) expand(glob string, path, dir func(string)) {
	root, rest := "", filepath.Clean(glob)
	if strings.HasPrefix(rest, "/") {
		root, rest = "/", rest[1:]
	}
	v.walk(root, strings.Split(rest, "/"), path, dir)
}

func (v *view) walk(at string, parts []string, path, dir func(string)) {
	part, rest := parts[0], parts[1:]
	here := at
	if here == "" {
		here = "."
	}
	if !strings.ContainsAny(part, `*?[\`) {
		p := filepath.Join(at, part)
		i, ok := v.stat(p)
		switch {
		case ok && len(rest) > 0 && i.dir:
			v.walk(p, rest, path, dir)
			return
		case ok && len(rest) == 0:
			path(p)
		}
		dir(here)
		return
	}
	dir(here)
	for _, name := range v.list(here) {
		if ok, _ := filepath.Match(part, name); !ok || strings.HasPrefix(name, ".") && !strings.HasPrefix(part, ".") {
			continue
		}
		p := filepath.Join(at, name)
		if len(rest) == 0 {
			path(p)
		} else if i, ok := v.stat(p); ok && i.dir {
			v.walk(p, rest, path, dir)
		}
	}
}

// compressed says whether the name is that of a compressed file, which nobody appends to.
func compressed(name string) bool {
	switch filepath.Ext(name) {
	case ".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4", ".Z", ".lzma", ".7z", ".tgz":
		return true
	}
	return false
}

// isRotation says whether name is one that a rotation gives to the file base: app.log.1, app.log-20261123,
// app-2026-11-23.log, app.1.log, app.log.old.
func isRotation(base, name string) bool {
	if name == base {
		return false
	}
	if rest, ok := strings.CutPrefix(name, base); ok {
		return isStamp(rest)
	}
	ext := filepath.Ext(base)
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(base, ext))
	if !ok || ext == "" {
		return false
	}
	rest, ok = strings.CutSuffix(rest, ext)
	return ok && isStamp(rest)
}

// alike says whether two names differ in their numbers alone, as those of the files do that a link is moved to.
func alike(a, b string) bool {
	letters := func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}
	return a != b && strings.Map(letters, a) == strings.Map(letters, b)
}

// isRotated says the same of two paths in one directory.
func isRotated(base, path string) bool {
	return filepath.Dir(base) == filepath.Dir(path) && isRotation(filepath.Base(base), filepath.Base(path))
}

// isStamp says whether s is a separator and a number, a date, or a word for old.
func isStamp(s string) bool {
	if s == "~" {
		return true
	}
	s = strings.TrimLeft(s, "-._@")
	switch s {
	case "old", "bak", "prev", "previous", "backup", "last", "save":
		return true
	}
	return s != "" && s[0] >= '0' && s[0] <= '9'
}
