package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/actors"
	"github.com/keypackage-delivery/keypackage-delivery/emulator/suite"
)

// The page at two widths, played by keyboard alone in a real browser.
func TestPlayedByKeyboard(t *testing.T) {
	page, _ := start(t)
	for _, width := range []int64{1280, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			b := open(t, page, width)
			b.press(`[data-post="/play/publish"]`)
			b.await("#status", "Bob published 5")
			b.await("#people", "Bob", "one-time", "1 reserve")

			b.press(`[data-post="/play/ask"]`)
			b.await("#status", "got 2 of Bob's KeyPackages")
			b.await("#requests li:first-child", "→ Bob", "2 delivered", "2 of 2 granted")
			b.count("#requests li:first-child .done", 4) // receipt, claim, push, frame
			b.await("#people", "handed out")

			b.press(`[data-post="/play/leave"]`)
			b.await("#requests li:first-child", "2 waiting")
			b.await("#waiting", "Bob's KeyPackage waits for Alice")
			b.press(`[data-post="/play/return"]`)
			b.await("#requests li:first-child", "2 delivered")
			b.await("#waiting", "Nothing.")

			b.press("#requests li:first-child button")
			b.await("#summary", "2 delivered", "was delivered at")
			b.await("#told", "Alice", "Bob", "one_time")
			b.screenshot(width, "story")
			do(b, chromedp.KeyEvent(kb.Escape))
			b.count("dialog[open]", 0)

			b.press(`[aria-label="Crash DeliverKeyPackages"]`)
			b.await("#status", "DeliverKeyPackages was killed and runs again")
			b.press(`[data-post="/play/read"]`)
			b.await("#requests li:first-child", "REQ", "1 delivered")
			b.press(`[data-post="/play/publish"]`)
			b.await("#status", "Bob published 5")
			b.press(`[data-post="/play/leave"]`)
			b.await("#waiting", "waits for Alice")
			b.screenshot(width, "page")
			b.fits()
			b.press(`[data-post="/play/return"]`)
			b.await("#waiting", "Nothing.")
			b.quiet()
		})
	}
}

// What a stranger or a log line says is shown as it stands, and does nothing.
func TestWhatStrangersSayIsText(t *testing.T) {
	page, s := start(t)
	const script = `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>`
	documents, err := s.Documents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer documents.Close()
	collections, stranger, poor := s.Config().Collections, actors.NewKey().Pubkey, actors.NewKey().Pubkey
	for path, fields := range map[string]map[string]any{
		collections.Requests + "/" + strings.ReplaceAll(script, "/", "|"): {"kind": 1, "received_at": time.Now(), "outcome": map[string]any{"status": script}},
		collections.KeyPackages + "/rubbish":                              {"owner_pubkey": stranger, "created_at": 1, "content": script, "flaw": script, "ciphersuite": script},
		collections.KeyPackages + "/nobody":                               {"owner_pubkey": script},
		collections.Claims + "/poor":                                      {"request_event_id": "poor", "owner_pubkey": poor, "created_at": time.Now().Add(-time.Minute)},
	} {
		if _, err := documents.Doc(path).Set(t.Context(), fields); err != nil {
			t.Fatal(err)
		}
	}
	line, _ := json.Marshal(map[string]string{"line": "invocation", "time": time.Now().Format(time.RFC3339), "outcome": "odd", "error": script})
	file, err := os.OpenFile(s.LogFile(suite.Deliver), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}

	b := open(t, page, 390)
	b.await("#functions", script)
	b.await("#people", stranger[:8], "unusable", poor[:8], "nothing in stock")
	b.await("#requests", "somebody")
	b.press("#requests li:first-child button")
	b.await("#told", "<script>")
	b.count("img, body script:not([nonce])", 0)
	b.fits()
	if do(b, chromedp.Evaluate[bool]("'hurt' in window")) {
		t.Error("the page has run what a stranger wrote")
	}
	b.quiet()
}

// browser is a tab that shows the page.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

func open(t *testing.T, page *Page, width int64) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(allocator)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancelTab() })
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	do(b, chromedp.EmulateViewport(width, 900))
	if width < 760 { // as phones are at night
		dark := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, dark); err != nil {
			t.Fatal(err)
		}
	}
	do(b, chromedp.Navigate(page.URL()))
	b.await("#functions", suite.Claim)
	return b
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium is found; install it with: apt-get install -y chromium")
	return ""
}

// listen notes what a person would find in the console.
func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprint(e.Type, e.Args))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, e.Entry.Text+" "+e.Entry.URL)
	}
}

func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		b.t.Errorf("in the console: %s", problem)
	}
}

// do does something in the browser and returns what comes of it.
func do[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// press goes to a button with the tabulator key alone, and presses Enter there.
func (b *browser) press(selector string) {
	b.t.Helper()
	const far = 200 // more than there is to go to
	for range far {
		do(b, chromedp.KeyEvent(kb.Tab))
		if do(b, chromedp.Evaluate[bool](fmt.Sprintf("document.activeElement.matches(%q)", selector))) {
			do(b, chromedp.KeyEvent(kb.Enter))
			return
		}
	}
	b.t.Fatalf("%s cannot be reached by keyboard", selector)
}

// await waits until all of the texts stand there.
func (b *browser) await(selector string, texts ...string) {
	b.t.Helper()
	wanted, err := json.Marshal(texts)
	if err != nil {
		b.t.Fatal(err)
	}
	expression := fmt.Sprintf("(e => e && %s.every(t => e.innerText.includes(t)))(document.querySelector(%q))", wanted, selector)
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression)); err != nil {
		shown, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		b.t.Fatalf("%s does not show %q: %v\n%s", selector, texts, err, shown)
	}
}

func (b *browser) count(selector string, want int) {
	b.t.Helper()
	do(b, chromedp.Poll[bool](fmt.Sprintf("document.querySelectorAll(%q).length === %d", selector, want)))
}

// fits reports whatever makes the page wider than the screen.
func (b *browser) fits() {
	b.t.Helper()
	wide := do(b, chromedp.Evaluate[[]string]("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"+
		".map(e => e.tagName + ' ' + e.className)"))
	if len(wide) > 0 {
		b.t.Errorf("wider than the screen: %q", wide)
	}
}

// screenshot keeps what is seen if the test is run with -artifacts.
func (b *browser) screenshot(width int64, name string) {
	b.t.Helper()
	do(b, chromedp.Poll[bool]("document.getAnimations().length === 0"))
	image := do(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), fmt.Sprintf("%s-%d.png", name, width)), image, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
