package suite

import (
	"context"
	"fmt"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Documents connects to the suite's database; close the client when done. The environment, by which the client would find the
// emulator itself, belongs to the whole process.
func (s *Suite) Documents(ctx context.Context) (*firestore.Client, error) {
	client, err := firestore.NewClientWithDatabase(ctx, s.config.Project, s.config.Database,
		option.WithEndpoint(s.emulators.Firestore.Addr()),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, fmt.Errorf("connect to the Firestore emulator: %w", err)
	}
	return client, nil
}
