package imagecmd

import "github.com/spf13/cobra"

func pull(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pull [flags] NAME[:TAG|@DIGEST]...",
		Short: "Get images from a registry",
		Long: `Get images from the registries that their names begin with; a name without one
is Docker Hub's, as with docker. What brig has already is not fetched again, and
a pull that was interrupted goes on where it stopped. The length and the digest
of everything are checked before it enters the image store.

Credentials are those of docker login and podman login: $REGISTRY_AUTH_FILE or
else $DOCKER_CONFIG/config.json (~/.docker), ${XDG_RUNTIME_DIR}/containers/auth.json
and ~/.config/containers/auth.json, with docker's credential helpers.

/etc/brig/registries.toml and $XDG_CONFIG_HOME/brig/registries.toml say which
registries have mirrors, and which may be spoken to without verified TLS:

  version = 1
  [registry."docker.io"]
  mirrors = ["mirror.example.com", "cache.example.com:5000/hub"]
  [registry."cache.example.com:5000"]
  insecure = true`,
		Example: `  brig pull debian:12
  brig pull --platform linux/arm64 alpine
  brig pull --tls-ca ca.pem registry.example.com/team/tool:1.2
  brig pull --insecure localhost:5000/tool`,
		Args: cobra.MinimumNArgs(1),
		RunE: run,
	}
	cmd.Flags().String("platform", "", "os/arch[/variant] to choose where there are several (default this machine's)")
	reach(cmd)
	limits(cmd)
	return cmd
}

func push(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push [flags] NAME[:TAG]",
		Short: "Send an image to a registry",
		Long: `Send an image to the registry that its name begins with, byte for byte as brig
got it: its digest stays the same. What the registry has is not sent again.
brig tag gives an image the name that it shall have there. Credentials and
registries.toml are those of brig pull.`,
		Example: `  brig tag tool registry.example.com/team/tool:1.2
  brig push registry.example.com/team/tool:1.2`,
		Args: cobra.ExactArgs(1),
		RunE: run,
	}
	reach(cmd)
	return cmd
}

// reach are the flags that say how a registry is reached.
func reach(cmd *cobra.Command) {
	cmd.Flags().Bool("insecure", false, "allow plain HTTP and certificates that cannot be verified")
	cmd.Flags().String("tls-ca", "", "file with certificates of authorities to trust besides the system's (or SSL_CERT_FILE's)")
	cmd.Flags().BoolP("quiet", "q", false, "print no progress and no notes")
}
