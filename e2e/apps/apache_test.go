//go:build e2e

package apps

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// apache starts Debian's Apache with Debian's configuration, but for its directories, its port and the site.
func (s *site) apache(modules string, site string) {
	s.Helper()
	conf := filepath.Join(s.stage.Dir, "apache2")
	if out, err := exec.Command("cp", "-a", "/etc/apache2", conf).CombinedOutput(); err != nil {
		s.Fatalf("copy Apache's configuration: %v\n%s", err, out)
	}
	s.write("apache2/ports.conf", "Listen "+s.address+"\n")
	os.Remove(filepath.Join(conf, "conf-enabled/other-vhosts-access-log.conf"))
	for _, module := range strings.Fields(modules) {
		os.Symlink("../mods-available/"+module+".load", filepath.Join(conf, "mods-enabled", module+".load"))
	}
	s.write("apache2/sites-available/000-default.conf", fmt.Sprintf(`
<VirtualHost *:%s>
	ErrorLog ${APACHE_LOG_DIR}/error.log
	CustomLog ${APACHE_LOG_DIR}/access.log combined
	%s
</VirtualHost>
`, s.port(), site))
	s.open()
	s.run("", with(exec.Command("apache2", "-d", conf, "-f", "apache2.conf", "-DFOREGROUND"),
		"APACHE_RUN_USER=www-data", "APACHE_RUN_GROUP=www-data", "APACHE_RUN_DIR="+s.stage.Dir, "APACHE_LOCK_DIR="+s.stage.Dir,
		"APACHE_PID_FILE="+s.stage.Dir+"/apache2.pid", "APACHE_LOG_DIR="+s.stage.Logs, "LANG=C"))
}

// open lets the user that a server changes to reach the site, and write there.
func (s *site) open() {
	s.Helper()
	for dir := s.stage.Dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			s.Fatal(err)
		}
	}
	for _, name := range []string{".", "logs"} {
		if err := os.Chmod(filepath.Join(s.stage.Dir, name), 0o777); err != nil {
			s.Fatal(err)
		}
	}
}

// pages copies a folder of the shop's into the site, where Apache's user can read it, and returns its path.
func (s *site) pages(folder string) string {
	s.Helper()
	to := filepath.Join(s.stage.Dir, "htdocs")
	if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
		s.Fatal(err)
	}
	return to
}

func startPHP(s *site) {
	pages := s.pages("php")
	s.apache("", fmt.Sprintf(`
	DocumentRoot %[1]s
	<Directory %[1]s>
		Require all granted
		FallbackResource /index.php
	</Directory>`, pages))
	s.await("/")
	s.run("", exec.Command("sh", "-c", `while sleep 0.3; do php -d log_errors=1 -d display_errors=0 -d error_log="$1" "$2"; done`,
		"cron", filepath.Join(s.stage.Logs, "cron.log"), filepath.Join(pages, "cron.php")))
}

func startCGI(s *site) {
	pages := s.pages("cgi")
	s.apache("cgi", fmt.Sprintf(`
	ScriptAlias / %[1]s/shop.pl/
	<Directory %[1]s>
		Require all granted
	</Directory>`, pages))
	s.await("/")
}

// startMediaWiki installs Debian's MediaWiki with SQLite, as its own installer does it, and adds the shop's settings.
func startMediaWiki(s *site) {
	const wiki = "/usr/share/mediawiki"
	data := filepath.Join(s.stage.Dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		s.Fatal(err)
	}
	install := exec.Command("php", wiki+"/maintenance/install.php", "--dbtype", "sqlite", "--dbpath", data, "--confpath", s.stage.Dir,
		"--server", "http://"+s.address, "--scriptpath", "", "--pass", "only-in-this-test", "Shop", "Keeper")
	if out, err := install.CombinedOutput(); err != nil {
		s.Fatalf("install MediaWiki: %v\n%s", err, out)
	}
	settings := filepath.Join(s.stage.Dir, "LocalSettings.php")
	content, err := os.ReadFile(settings)
	if err != nil {
		s.Fatal(err)
	}
	s.write("LocalSettings.php", fmt.Sprintf("%s\n$shopLogs = '%s';\nrequire '%s';\n", content, s.stage.Logs, filepath.Join(s.pages("mediawiki"), "shop.php")))
	s.allow(data)
	s.apache("", fmt.Sprintf(`
	DocumentRoot %[1]s
	SetEnv MW_CONFIG_FILE %[2]s
	<Directory %[1]s>
		Require all granted
	</Directory>`, wiki, settings))
	s.await("/index.php/Main_Page")
}

// allow lets everybody write a directory and all that it holds.
func (s *site) allow(dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o777)
	})
	if err != nil {
		s.Fatal(err)
	}
}
