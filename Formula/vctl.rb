# Template of the formula in the tap ghdwlsgur/homebrew-vctl. `cargo xtask release` fills in the version and the
# checksum of each URL.
class Vctl < Formula
  desc "Short-lived SSH access through Vault, and a record of each session"
  homepage "https://github.com/ghdwlsgur/vctl"
  version "VERSION"
  license "MIT"

  on_macos do
    on_arm do
      url "https://github.com/ghdwlsgur/vctl/releases/download/vVERSION/vctl-VERSION-macos-aarch64.tar.gz"
      sha256 "SHA256"
    end
    on_intel do
      url "https://github.com/ghdwlsgur/vctl/releases/download/vVERSION/vctl-VERSION-macos-x86_64.tar.gz"
      sha256 "SHA256"
    end
  end

  on_linux do
    on_arm do
      url "https://github.com/ghdwlsgur/vctl/releases/download/vVERSION/vctl-VERSION-linux-aarch64.tar.gz"
      sha256 "SHA256"
    end
    on_intel do
      url "https://github.com/ghdwlsgur/vctl/releases/download/vVERSION/vctl-VERSION-linux-x86_64.tar.gz"
      sha256 "SHA256"
    end
  end

  def install
    bin.install "usr/bin/vctl"
    bin.install_symlink "vctl" => "dbedit"
    man1.install Dir["usr/share/man/man1/*"]
    generate_completions_from_executable(bin/"vctl", "completions", shells: [:bash, :zsh, :fish])
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/vctl --version")
  end
end
